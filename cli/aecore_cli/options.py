"""The options and arguments that commands share."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer


def settings_of(assignments: list[str] | None) -> dict[str, Any]:
    """What ``--set`` said, by dotted key; the last of several wins."""
    from aecore.runs.config import parse_setting

    return dict(parse_setting(text) for text in assignments or [])


def _device(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise typer.BadParameter(f"'{name}' is none of auto, cpu, cuda and cuda:N.")
    return name


def _temperature(value: float) -> float:
    if value != 0 and not (math.isfinite(value) and 0.001 <= value <= 1000):
        raise typer.BadParameter(f"{value:g} is neither 0 nor between 0.001 and 1000.")
    return value


RunPath = Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="NAME", help="A method; again for another. None is the plain VAE.")
]
Data = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="toy, or a folder with train.txt, valid.txt, test.txt; SPEC[:20%] takes the head."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A setting, such as train.lr=0.5 or controlvae.target_kl=5; again for more."
    ),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A config.toml to start from; the other options win over it.")
]
Out = Annotated[Path | None, typer.Option(metavar="RUN", help="The folder to write; runs/<time>-<plugins> unless given.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")]
TrainSeed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of every draw of the run; 0 unless given.")]
MaxSteps = Annotated[int | None, typer.Option(metavar="N", help="Stop after N training steps in all.")]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Passes over the training split, in all.")]
TrainDevice = Annotated[
    str | None, typer.Option("--device", metavar="D", callback=_device, help="auto, cpu, cuda or cuda:N; auto unless given.")
]
Device = Annotated[str, typer.Option("--device", metavar="D", callback=_device, help="auto, cpu, cuda or cuda:N.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the draws.")]
Temperature = Annotated[
    float,
    typer.Option("--temperature", metavar="T", callback=_temperature, help="0: the likeliest words; above: words drawn at T."),
]
Count = Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many sentences.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
