"""``aecore plugins``: what is installed, what it is, whether it keeps its promises."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecore_cli import options as o
from aecore_cli.show import note, print_json, print_pairs, print_table, title, working

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def plugins(context: typer.Context) -> None:
    """List, explain, write and check plugins."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_plugins(
    load: Annotated[
        bool, typer.Option("--load", help="Import each, and show what an import raises.")
    ] = False,
    registry: o.Registries = None,
    as_json: o.AsJson = False,
) -> None:
    """List the plugins that are installed or known.

    Prints name, version, hooks, paper and status of each; none is imported unless --load asks for
    it.
    """
    from aecore_cli.listing import listed, problems, table_rows

    with working():
        found, warnings = listed(load, registry or [])
    for line in warnings:
        note(f"warning: {line}")
    if as_json:
        print_json(found)
        return
    print_table(["name", "version", "hooks", "paper", "status"], table_rows(found))
    for line in problems(found):
        print(line)


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="A plugin; - is read as _.")
    ],
    registry: o.Registries = None,
    as_json: o.AsJson = False,
) -> None:
    """Show one plugin.

    Prints its paper, hooks, what it requires and provides, its settings with their ranges, and how
    to use it.
    """
    from aecore_cli.listing import facts, informed, setting_rows, usage

    with working():
        found = informed(name, registry or [])
    if as_json:
        print_json(found)
        return
    print(f"{title(found['name'])}\n{found['summary']}".rstrip() + "\n")
    print_pairs(facts(found))
    if found["settings"]:
        print()
        print_table(["setting", "type", "default", "range", "meaning"], setting_rows(found))
    for line in usage(found):
        print(line)


@app.command()
def new(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", show_default=False, help="The plugin's name, as --plugin takes it."
        ),
    ],
    hooks: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help="The hooks that it implements; kl_penalty unless given."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to put the folder aecore-NAME.")
    ] = Path(),
    registry: o.Registries = None,
) -> None:
    """Write a new plugin that can be installed, trained and checked at once.

    Prints the files of the folder aecore-NAME and what to type next.
    """
    from aecore.catalogue import Catalogue
    from aecore.scaffold import create
    from aecore_cli.creating import creation_lines, split_hooks

    made = create(name, split_hooks(hooks), out, Catalogue.discover(registry or []))
    for line in creation_lines(made):
        print(line)


@app.command()
def check(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", show_default=False, help="An installed plugin."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every plugin that is installed.")
    ] = False,
    assignments: o.Settings = None,
    registry: o.Registries = None,
    as_json: o.AsJson = False,
) -> None:
    """Run the conformance kit over a plugin.

    Prints each check that applies, its outcome and time, then failures and exceptions. Exit code 1
    where a check failed.
    """
    if (name is None) != everything:
        raise typer.BadParameter("a NAME or --all is due, one of the two.")
    if name is None:
        _check_all(registry or [], as_json)
        return
    settings = o.settings_of(assignments)
    from aecore_cli import checking

    with working():
        report = checking.checked(name, checking.own_settings(name, settings))
    if as_json:
        print_json(report.as_data())
    else:
        print_table(["check", "status", "seconds"], checking.check_rows(report), right=["seconds"])
        print("\n" + "\n".join(checking.verdict_lines(report)))
    raise typer.Exit(int(report.bad))


def _check_all(registries: list[Path], as_json: bool) -> None:
    from aecore.catalogue import Catalogue
    from aecore_cli import checking

    with working():
        catalogue = Catalogue.discover(registries)
        reports = checking.all_checked(catalogue)
    for line in catalogue.registries.warnings():
        note(f"warning: {line}")
    if as_json:
        print_json([report.as_data() for report in reports])
    else:
        heads = ["plugin", "distribution", "passed", "failed", "excepted", "seconds", "status"]
        print_table(heads, checking.report_rows(reports), right=heads[2:6])
        print("\n".join(checking.report_lines(reports)))
    raise typer.Exit(int(any(report.bad for report in reports)))
