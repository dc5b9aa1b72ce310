"""The options and arguments that commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from aecore.generation.strategy import Choice


def settings_of(assignments: list[str] | None) -> dict[str, Any]:
    """What ``--set`` said, by dotted key; the last of several wins."""
    from aecore.runs.config import parse_setting

    return dict(parse_setting(text) for text in assignments or [])


def _device(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise typer.BadParameter(f"'{name}' is none of auto, cpu, cuda and cuda:N.")
    return name


def choice_of(
    temperature: float | None,
    top_k: int,
    top_p: float,
    beam: int,
    max_length: int | None,
    unknown: bool,
) -> Choice:
    """The flags that say how words are chosen, checked together before anything is loaded."""
    from aecore.generation.strategy import Strategy

    choice: Choice = {"top_k": top_k, "top_p": top_p, "beam": beam, "unknown": unknown}
    if max_length is not None:
        choice["max_length"] = max_length
    Strategy(temperature, **choice)
    return choice


def installed(incomplete: str) -> list[str]:
    """Shell completion: the installed plugins that begin so."""
    from aecore.catalogue import Catalogue
    from aecore.composition import DEFAULTS

    names = Catalogue.discover().entries
    return [name for name in names if name != DEFAULTS and name.startswith(incomplete)]


RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run.")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="NAME",
        help="A method; again for another. None is the plain VAE.",
        autocompletion=installed,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="toy, or a folder with train, valid, test as .txt or .jsonl; SPEC[:20%] takes the "
        "head.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="SPEC", help="Where the corpus lies now; that of training by default."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting, such as train.lr=0.5 or controlvae.target_kl=5; again for more.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="A config.toml to start from; the other options win over it."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="The folder to write; runs/<time>-<plugins> unless given."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")]
TrainSeed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Seed of every draw of the run; 0 unless given."),
]
MaxSteps = Annotated[
    int | None, typer.Option(metavar="N", help="Stop after N training steps in all.")
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Passes over the training split, in all.")
]
TrainDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="D",
        callback=_device,
        help="auto, cpu, cuda or cuda:N; auto unless given.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        help="fp32, bf16 or auto, of products in training; energies are float32 in any case.",
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="D", callback=_device, help="auto, cpu, cuda or cuda:N.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the draws.")]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="T",
        help="0, the default: the likeliest words; above: words drawn at T. 1 with --top-k or "
        "--top-p.",
    ),
]
TopK = Annotated[
    int, typer.Option(metavar="K", show_default=False, help="Draw among the K likeliest words.")
]
TopP = Annotated[
    float,
    typer.Option(
        metavar="P", show_default=False, help="Draw from the fewest words that have probability P."
    ),
]
Beam = Annotated[
    int,
    typer.Option(
        metavar="N", show_default=False, help="Search the likeliest sentence with N hypotheses."
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Cut a sentence after N words; data.max_length of the run unless given."
    ),
]
Unknown = Annotated[
    bool, typer.Option("--unknown", help="Let <unk> be written; other words otherwise.")
]
SentenceFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", show_default=False, help="Sentences, one a line; - is standard input."
    ),
]
TestSentences = Annotated[
    int,
    typer.Option(
        "-n", metavar="N", min=1, help="Without FILE or a pipe: sentences of the test split."
    ),
]
Count = Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many sentences.")]
Registries = Annotated[
    list[Path] | None,
    typer.Option(
        "--registry", metavar="FILE", help="A file that lists further plugins; again for another."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
