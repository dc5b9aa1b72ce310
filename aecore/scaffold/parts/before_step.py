"""The encoder is trained ahead of the decoder for a while.

requires.objective_gradient = ["encoder"]
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pydantic import Field

from aecore import Plugin, PluginConfig, Session, Sizes, hookimpl


class Method(Plugin):
    """In the first head_start steps the encoder learns from a batch of its own."""

    class Config(PluginConfig):
        """Settings."""

        head_start: int = Field(100, ge=0, description="steps with an extra update")

    config: Config

    @hookimpl
    def before_step(self, session: Session) -> list[str]:
        """Update the encoder, then name the roles that the joint step leaves alone."""
        if session.index >= self.config.head_start:
            return []
        session.update(session.loss(session.batch()), ["encoder"])
        return ["encoder"]


def method(**settings: Any) -> Method:
    """The method in a tiny model's sizes."""
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


def test_the_head_start_ends() -> None:
    plugin, updated = method(head_start=2), []
    session: Any = SimpleNamespace(index=0, batch=lambda: "batch", loss=str.upper)
    session.update = lambda *given: updated.append(given)
    assert plugin.before_step(session) == ["encoder"]
    assert updated == [("BATCH", ["encoder"])]
    session.index = 2
    assert plugin.before_step(session) == []
