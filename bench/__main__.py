"""Measure speed against plain float32 loops, interleaved in one process; print a table.

Usage: ``python -m bench [--data SPEC] [--out FILE]``; ``--only`` takes steps, likelihood, quality
    or plugins. The corpus is
the toy unless given, on which the figures say little: the work of the output layer grows with the
    vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from aecore.catalogue import Catalogue
from aecore.composition import DEFAULTS
from aecore.opening import opened
from aecore.runs.config import build_config
from aecore.training.trainer import Trainer
from bench.likelihood import compare_likelihoods
from bench.machine import described
from bench.plugins import cost_of
from bench.quality import SENTENCES, Race, draw, race
from bench.steps import compare_steps, dispatch_cost

PARTS = ("steps", "likelihood", "quality", "plugins")
#: What is measured, aecore, plain, their ratio, and the ratio that is due.
Row = tuple[str, str, str, str, str]


def main() -> None:
    """Run the parts and print the table."""
    options = arguments()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    began = time.perf_counter()
    for part in [options.only] if options.only else PARTS:
        print(f"{part} ...", file=sys.stderr)
        rows += MEASURES[part](options)
    text = table(options, rows, time.perf_counter() - began)
    print(text, end="")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="toy", metavar="SPEC")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the table there too, as Markdown"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9, help="pairs of blocks of training steps")
    parser.add_argument("--steps", type=int, default=20, help="steps in a block")
    parser.add_argument(
        "--run", type=Path, help="nll_iw: of this trained run instead of a model after 20 steps"
    )
    parser.add_argument("--sentences", type=int, default=20, help="nll_iw: test sentences")
    parser.add_argument("--samples", type=int, default=500, help="nll_iw: K")
    parser.add_argument(
        "--epochs", type=int, default=1, help="quality: epochs of the fast recipe, whole schedule"
    )
    parser.add_argument("--blocks", type=int, default=12, help="quality: validations of each side")
    parser.add_argument(
        "--seeds", type=int, default=1, help="quality: races, each with seeds of its own"
    )
    parser.add_argument(
        "--curve", type=Path, metavar="FILE", help="quality: draw NLL against time there, as SVG"
    )
    return parser.parse_args()


@contextmanager
def training(
    options: argparse.Namespace, plugins: Sequence[str] = (), **train: Any
) -> Iterator[Trainer]:
    """A trainer of the defaults or of plugins, in a temporary folder; keywords are ``[train]``."""
    train = {"threads": options.threads, "epochs": 1000, "device": "cpu", **train}
    settings = {f"train.{name}": value for name, value in train.items()}
    config = build_config(None, {"data": {"spec": options.data}}, settings, plugins)
    with tempfile.TemporaryDirectory() as folder, opened(config, Path(folder) / "run") as trainer:
        yield trainer


def steps(options: argparse.Namespace) -> list[Row]:
    """Training, the published recipe in both, and what calling hooks costs."""
    with training(options, recipe="published") as trainer:
        speed = compare_steps(trainer, options.rounds, options.steps)
        tokens = (
            statistics.mean(trainer.corpus.train.lengths.float().tolist())
            * trainer.config.train.batch_size
        )
        share = dispatch_cost(trainer) / (tokens / statistics.median(speed.ours))
    return [
        (
            f"training, tokens/s ({options.rounds} x {options.steps} steps)",
            f"{statistics.median(speed.ours):,.0f}",
            f"{statistics.median(speed.plain):,.0f}",
            spread(speed.ratios),
            "1.5",
        ),
        ("share of the matrix rate", "", f"{speed.plain_share:.0%}", "", "plain 60% or more"),
        ("calling hooks, share of a step", f"{share:.3%}", "", "", "1% at most"),
    ]


def likelihood(options: argparse.Namespace) -> list[Row]:
    """nll_iw, one sentence at a time in both."""
    with training(options) as trainer:
        if options.run is not None:
            load_into(trainer, options.run)
        else:
            while trainer.state.step < 20:
                trainer.advance()
        found = compare_likelihoods(trainer, options.sentences, options.samples)
    decoded = options.samples * sum(pair.tokens for pair in found)
    ours, plain = (decoded / sum(pair.seconds[side] for pair in found) for side in (0, 1))
    apart = [pair.nats[0] - pair.nats[1] for pair in found]
    name = f"nll_iw, decoded tokens/s (K = {options.samples}, {len(found)} sentences)"
    agreement = f"{abs(statistics.mean(apart)):.1e} mean, {max(map(abs, apart)):.1e} at most"
    return [
        (name, f"{ours:,.0f}", f"{plain:,.0f}", spread([pair.ratio for pair in found]), "2.3"),
        ("nll_iw, nats apart", agreement, "", "", "0.01 mean, 0.1 at most"),
    ]


def load_into(trainer: Trainer, run: Path) -> None:
    """The weights of a run on the same corpus, as far as the defaults have them."""
    from aecore.runs.checkpoint import load_tensors

    tensors, _ = load_tensors(run / "model.safetensors")
    wanted = trainer.model.state_dict()
    trainer.model.load_state_dict(
        {name: tensors.get(name, value) for name, value in wanted.items()}
    )


def quality(options: argparse.Namespace) -> list[Row]:
    """Wall time to the validation NLL that the published recipe has after six epochs."""
    races = []
    for seed in range(options.seeds):
        torch.manual_seed(seed)  # of the plain loop: this process is the bench's own
        with training(options, epochs=options.epochs, seed=seed) as trainer:
            races.append(race(trainer, options.blocks, lambda line: print(line, file=sys.stderr)))
    if options.curve is not None:
        draw(races, options.curve)
    rows = [_race_row(seed, one) for seed, one in enumerate(races)]
    ratios = [one.ratio for one in races if one.ratio is not None]
    return [
        *rows,
        (
            "all races",
            "",
            "",
            spread(ratios) if len(ratios) == len(races) else "not all reached",
            "6",
        ),
    ]


def _race_row(seed: int, one: Race) -> Row:
    head = f"seconds to {one.target:.1f} nats ({SENTENCES} validation sentences), seed {seed}"
    mine = (
        f"{one.seconds:.0f}"
        if one.seconds
        else f"not reached ({min(point.nll for point in one.ours):.1f})"
    )
    return head, mine, f"{one.plain[-1].seconds:.0f}", f"{one.ratio:.1f}" if one.ratio else "", "6"


def plugins(options: argparse.Namespace) -> list[Row]:
    """A step of every installed method over one of the defaults; stages are not joint steps."""
    entries = Catalogue.discover().entries.values()
    names = [
        entry.name
        for entry in entries
        if entry.status == "ok" and entry.name not in {DEFAULTS, "ae_pretrain"}
    ]

    def open_trainer(stack: ExitStack, chosen: list[str]) -> Trainer:
        return stack.enter_context(training(options, chosen))

    costs = cost_of(names, open_trainer, 3, 3, lambda line: print(line, file=sys.stderr))
    return [
        (f"a step with {name}, times that of vae", f"{cost:.2f}", "", "", "")
        for name, cost in costs.items()
    ]


def spread(ratios: list[float]) -> str:
    """The median of pairs, then the least and the largest."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(options: argparse.Namespace, rows: list[Row], seconds: float) -> str:
    """Markdown: where, how, and the figures."""
    command = " ".join(sys.argv[1:])
    lines = [f"`python -m bench {command}`: {described()}; {seconds / 60:.0f} minutes", ""]
    heads = ("", "aecore", "plain", "ratio: median of pairs (range)", "due")
    lines += [f"| {' | '.join(row)} |" for row in (heads, ("---",) * 5, *rows)]
    return "\n".join(lines) + "\n"


#: The parts by name.
MEASURES = {"steps": steps, "likelihood": likelihood, "quality": quality, "plugins": plugins}

if __name__ == "__main__":
    main()
