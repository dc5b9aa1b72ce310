"""Outcome of a training: figures, samples, reconstructions, an interpolation."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from aecore.catalogue import Catalogue
from aecore.composition import DEFAULTS
from aecore.evaluation.collapse import signs_of
from aecore.evaluation.text import grammar, reconstruction
from aecore.run import Run
from aecore_cli.advice import described
from aecore_cli.progress import listening
from aecore_cli.sentences import first_sentences
from aecore_cli.show import note, print_pairs, print_table, shortened, title, working

#: Reconstructions that are shown; samples, of a corpus that has no grammar to count them by;
#: sentences that are counted; sentences that a run which rewrites shows.
SHOWN, SAMPLES, READ, REWRITTEN = 3, 20, 200, 5
#: Points of the interpolation, of which those that say something new are shown.
POINTS = 41
#: The figures of a split, in the order of the table; those that cost most are left out where they
#: were not measured.
COLUMNS = (
    "sentences",
    "tokens",
    "unknown",
    "nll_elbo",
    "ppl_elbo",
    "nll_iw",
    "ppl_iw",
    "iw_ess",
    "iw_bad",
    "rec",
    "kl",
    "penalty",
    "mi",
    "mi_batch",
    "au",
)

#: Those that have a column only where they were measured.
OPTIONAL = ("unknown", "nll_iw", "ppl_iw", "iw_ess", "iw_bad", "kl", "penalty")


def show_training(verb: Callable[..., Run], *values: Any, **options: Any) -> None:
    """Call a verb that trains, with a progress to listen to it, and print what came out."""
    with working(), listening() as progress:
        run = verb(*values, progress=progress, **options)
    print_outcome(run)


def print_outcome(run: Run) -> None:
    """Figures, prior samples, reconstructions, an interpolation, and what to type next.

    Of a run that rewrites sentences, some that it has rewritten.
    """
    if run.model.composition.rewrites:
        return _print_rewritten(run)
    with working():
        sentences = first_sentences(run, READ if run.has_codes else SHOWN)
        samples = run.sample(SAMPLES)
        found = run.reconstruct(sentences) if run.has_codes else []
        way = _way(run, *sentences[:2]) if run.has_codes and len(sentences) > 1 else []
    print_figures(run.summary)
    print(f"\n{title('samples from the prior')}{_counted(run, samples)}")
    for sentence in samples[: SAMPLES if _on_toy(run) else SHOWN]:
        print(f"  {_shown(sentence, 2)}")
    if found:
        _print_reconstructions(sentences, found)
    if way:
        print(f"\n{title('from one test sentence to another')}")
        print("\n".join(f"  {_shown(sentence, 2)}" for sentence in way))
    print(f"\n{title('what to type next')}")
    print("\n".join(f"  {line}" for line in _next_lines(run)))
    _warn_of_collapse(run)


def _print_rewritten(run: Run) -> None:
    """Sentences of the test split and what they become, and what to type next."""
    with working():
        found = run.texts("test", REWRITTEN)
    print(f"{title('test sentences, rewritten')}")
    for pair in zip(found["sentences"], found["transfers"], strict=True):
        print("  {}\n    -> {}".format(*(_shown(text, 7) for text in pair)))
    path = shlex.quote(str(run.path))
    print(f"\n{title('what to type next')}")
    print(f"  aecore transfer {path} -n 10\n  aecore evaluate {path}")


def _way(run: Run, start: str, end: str) -> list[str]:
    """Each sentence on the way from one to the other, once: fine steps show what changes first."""
    return [sentence for sentence, _ in groupby(run.interpolate(start, end, POINTS))]


def _print_reconstructions(sentences: Sequence[str], found: Sequence[str]) -> None:
    """The first few, and how many of all came back."""
    n, exact, words = reconstruction(sentences, found)
    print(
        f"\n{title('reconstructions, test split')}: {exact} of {n} word for word, {words:.0%} of "
        f"their words in place"
    )
    for pair in list(zip(sentences, found, strict=True))[:SHOWN]:
        print("  {}\n    -> {}".format(*(_shown(text, 7) for text in pair)))


def _counted(run: Run, samples: Sequence[str]) -> str:
    """What the toy corpus's own grammar says of the samples; nothing of other text."""
    if not _on_toy(run):
        return ""
    n, different, grammatical = grammar(samples)
    return f": of {n}, {different} different, {grammatical} of these grammatical"


def _on_toy(run: Run) -> bool:
    return run.config.data.on_toy


def _shown(sentence: str, indent: int) -> str:
    return shortened(sentence, indent) or "(no words)"


def _measured(figures: Mapping[str, Any], name: str) -> bool:
    """Whether a figure has a column; no unknown words need none."""
    return bool(figures.get(name)) if name == "unknown" else figures.get(name) is not None


def print_figures(figures: Mapping[str, Any]) -> None:
    """The figures of one split as a table, and how they were estimated."""
    estimators = figures["estimators"]
    if "transfer_sentences" in figures:
        return _print_transfers(figures)
    names = [name for name in COLUMNS if name not in OPTIONAL or _measured(figures, name)]
    heads = ["split", *names]
    print_table(
        heads,
        [[str(figures["split"]), *(_number(figures.get(name)) for name in names)]],
        right=heads[1:],
    )
    print()
    pairs = [(name, estimators[name]) for name in COLUMNS if estimators.get(name)]
    if any(name.startswith("text_") for name in figures):
        pairs += _print_text(figures)
    if any(name.startswith("judge_") for name in figures):
        _print_verdict(figures)
        pairs.append(("judge", estimators["judge_nll_sentences"]))
    if "selected" in figures:
        pairs.append(("selected", _selection(figures)))
    print_pairs(
        [
            *pairs,
            ("units", "nats per sentence; ppl: per token, </s> counted; au: latent dimensions"),
        ]
    )


def _print_transfers(figures: Mapping[str, Any]) -> None:
    """What was measured of rewritten sentences, a figure a line; and the judge's verdict."""
    from aecore.evaluation.rewriting import FIGURES

    known = [name for name in FIGURES if figures.get(name) is not None]
    rows = [[name.removeprefix("transfer_"), _number(figures[name])] for name in known]
    print_table(["figure", str(figures["split"])], rows, right=[str(figures["split"])])
    print()
    if any(name.startswith("judge_") for name in figures):
        _print_verdict(figures)
    told: dict[str, list[str]] = {}
    for name in known:
        how = figures["estimators"][name]
        told.setdefault(how, []).append(name.removeprefix("transfer_"))
    print_pairs([(", ".join(names), how) for how, names in told.items()])


def print_tradeoff(rows: Sequence[Mapping[str, Any]]) -> None:
    """A run a line, and how its figures were measured."""
    names = ("style", "self_bleu", "bleu", "copied", "toy_both", "seconds")
    known = [name for name in names if rows[0][f"transfer_{name}"] is not None]
    cells = [
        [row["method"], row["differs"], *(_number(row[f"transfer_{name}"]) for name in known)]
        for row in rows
    ]
    print_table(["method", "differs in", *known], cells, right=known)
    print()
    print_pairs([(name, rows[0]["estimators"][f"transfer_{name}"]) for name in known])


def _print_verdict(figures: Mapping[str, Any]) -> None:
    """What the judge gives to each text of the run."""
    from aecore.evaluation.judge import TEXTS

    heads = ["text", "judge_nll", "judge_ppl", "judge_unknown"]
    read = [text for text in TEXTS if figures[f"judge_nll_{text}"] is not None]
    rows = [[text, *(_number(figures[f"{name}_{text}"]) for name in heads[1:])] for text in read]
    print_table(heads, rows, right=heads[1:])
    print()


def _print_text(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for each text and a column for each figure; how they were measured, by figure."""
    from aecore.evaluation.diversity import EACH

    names = [*EACH, "unikl", "unseen", "bleu"]
    texts = ("samples", "sentences", "reconstructions")
    read = [text for text in texts if figures.get(f"text_length_{text}") is not None]
    rows = [[text, *(_text(figures.get(f"text_{name}_{text}")) for name in names)] for text in read]
    print_table(["text", *names], rows, right=names)
    print()
    told = {}
    for name in names:
        said = [figures["estimators"].get(f"text_{name}_{text}") for text in read]
        told[name] = next((one for one in said if one), "")
    return [(name, said) for name, said in told.items() if said]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _selection(summary: Mapping[str, Any]) -> str:
    best = summary.get("selected")
    if best is None:
        return "the last weights"
    where = f"step {best['step']:,} (epoch {best['epoch']:g})"
    if best["by"] == "last":
        return f"the last weights, {where}"
    return f"{where}, where the validation {best['by']} was lowest: {best['value']:.2f} nats"


def _next_lines(run: Run) -> Iterator[str]:
    path = shlex.quote(str(run.path))
    yield f"aecore sample {path} -n 10"
    if run.has_codes:
        yield f"aecore reconstruct {path}"
    yield f"aecore evaluate {path} --json"
    spec = run.config.data.spec
    data = "" if spec == "toy" else f" --data {shlex.quote(spec)}"
    other = _another_plugin(run)
    yield f"aecore train --plugin {other}{data}" if other else "aecore plugins list"


def _another_plugin(run: Run) -> str | None:
    """An installed method that the run does not use; preferably a schedule."""
    entries = Catalogue.discover().entries.values()
    unused = [
        e for e in entries if e.status == "ok" and e.name not in {DEFAULTS, *run.config.plugins}
    ]
    unused.sort(
        key=lambda entry: entry.manifest is None or "beta_schedule" not in entry.manifest.hooks
    )
    return unused[0].name if unused else None


def _warn_of_collapse(run: Run) -> None:
    """What the alarm said of the validation split, of the selected weights and the test split."""
    for alarm, signs in signs_of(run.summary).items():
        note(f"\nwarning: {described(alarm, signs, run.model.composition)}")
