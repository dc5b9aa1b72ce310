"""The verbs about many plugins or many runs: matrix, sweep, runs, diff."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from aecore_cli import options as o
from aecore_cli.show import note, print_json, telling, working


def matrix(
    plugin: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only companies of this plugin.", autocompletion=o.installed
        ),
    ] = None,
    triples: Annotated[bool, typer.Option("--triples", help="Companies of three as well.")] = False,
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Measure what plugins keep up in company; half an hour."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep it as it goes; the same again goes on from there."),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a heat map.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare with an earlier one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes; one a core unless given.")
    ] = None,
    registry: o.Registries = None,
    as_json: o.AsJson = False,
) -> None:
    """Train pairs of plugins, and say which go together.

    Every pair is trained for a few steps. Prints how many are sound or refused, and evidence for
    each that is broken.
    Exit code 1 where one is broken or, with --against, worse than before.
    """
    from aecore.matrix.build import compatibility
    from aecore.matrix.record import Matrix
    from aecore_cli import matrix as m

    if against is not None:
        Matrix.read(against)  # before minutes of work
    with working(), telling() as show:
        found = compatibility(
            plugin,
            triples=triples,
            evidence=evidence,
            out=out,
            workers=workers,
            registries=registry or [],
            tell=m.pace(show),
        )
        changes = [] if against is None else m.differences(against, found, workers)
    if html is not None:
        m.draw(found, html)
        note(f"{html}: a square for each pair, with its reason")
    m.show(found, changes, plugin is not None, as_json)
    bad = any(cell.status == "broken" for cell in found.cells)
    raise typer.Exit(int(bad or any(one.change == "regressed" for one in changes)))


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="A sweep, as .toml.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder of the runs; runs/<name of FILE> by default."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Runs at a time; one a core by default.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster, such as auto; local starts one."),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Train plugins x seeds x data x settings.

    Runs that are finished are left as they are, runs that were stopped go on. Prints a table of all
    of them, and why any failed. Exit code 1 where one did.
    """
    from aecore.executor import Executor, Processes, RayCluster, cores
    from aecore.sweep.sweeping import Result, under_way
    from aecore.sweep.sweeping import sweep as train_all
    from aecore_cli import shelf

    place, count = out or Path("runs") / file.stem, workers or cores()

    def tell(result: Result, done: int, total: int) -> None:
        note(shelf.told(result, done, total, place))

    with working(), telling() as show:
        executor: Executor = Processes(count, tick=lambda: show(under_way(place)))
        if ray is not None:
            executor = RayCluster(count, None if ray == "local" else ray)
        results = train_all(file, executor, place, tell)
    if as_json:
        print_json(shelf.sweep_data(results))
    else:
        shelf.print_sweep(results)
    raise typer.Exit(int(any(result.state == "failed" for result in results)))


def runs(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...", show_default=False, help="Where to look; runs by default."
        ),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """List runs with their figures.

    Prints plugins, data, seed, state and test figures of each run in the folders and below.
    """
    from aecore.comparing.listing import runs_in
    from aecore_cli import shelf

    with working():
        found = runs_in(places or [Path("runs")])
    if as_json:
        print_json([run.as_data() for run in found])
    else:
        shelf.print_runs(found)


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", show_default=False, help="A run.")],
    other: Annotated[Path, typer.Argument(metavar="B", show_default=False, help="Another.")],
    as_json: o.AsJson = False,
) -> None:
    """Say what two runs differ in, and what may be compared.

    Prints settings that are not the same, the figures of both with their difference, and why a
    figure may not be compared.
    """
    from aecore.comparing.difference import difference
    from aecore_cli import shelf

    with working():
        found = difference(one, other)
    if as_json:
        print_json(found.as_data())
    else:
        shelf.print_difference(found)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", show_default=False, help="Runs; seeds are one method."),
    ],
    split: Annotated[str, typer.Option(metavar="NAME", help="train, valid or test.")] = "test",
    draws: Annotated[
        int, typer.Option(metavar="N", min=100, help="Draws of the bootstrap.")
    ] = 4000,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables of Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a table of LaTeX.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Compare methods by the energies of single sentences.

    Prints the mean and interval of each figure for every method, its runs being those that differ
    in the seed alone; then the difference of each pair with a corrected p, and the smallest that
    these runs could have shown. evaluate --save keeps the energies.
    """
    if markdown + latex + as_json > 1:
        raise typer.BadParameter("--json, --markdown and --latex: one of them.")
    from aecore.comparing import comparison
    from aecore_cli import comparison as c

    with working():
        found = comparison.compare(runs, split, draws)
    if as_json:
        print_json(found.as_data())
    elif markdown or latex:
        print(c.markdown(found) if markdown else c.latex(found))
    else:
        c.show(found)


VERBS: tuple[Callable[..., None], ...] = (matrix, sweep, runs, diff, compare)
