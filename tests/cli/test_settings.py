"""Settings as rows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aecore import CriticConfig, PluginConfig
from aecore_cli.settings import read_settings


class Config(PluginConfig):
    share: float = Field(0.5, gt=0, le=1, description="a share")
    mode: Literal["dimension", "batch"] = "batch"
    steps: int | None = Field(None, ge=1)
    fine: bool = True
    path: str
    critic: CriticConfig = CriticConfig()


def test_every_kind_of_setting_is_readable():
    rows = {s["name"]: (s["type"], s["default_text"], s["range"]) for s in read_settings(Config)}
    critic = rows.pop("critic")
    assert rows == {
        "share": ("float", "0.5", "> 0, <= 1"),
        "mode": ("str", "batch", "dimension | batch"),
        "steps": ("int", "-", ">= 1"),
        "fine": ("bool", "true", "-"),
        "path": ("str", "required", "-"),
    }
    assert critic[0] == "table"
