"""``aecore plugins``: what is installed, and what it is."""

from __future__ import annotations

from typing import Annotated

import typer

from aecore_cli import options as o
from aecore_cli.show import print_json, print_pairs, print_table, title, working

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def plugins(context: typer.Context) -> None:
    """List the plugins, and show what one of them does."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_plugins(
    load: Annotated[bool, typer.Option("--load", help="Import each, and show what an import raises.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """List the plugins that are installed or known.

    Prints name, version, hooks, paper and status of each; none is imported unless --load asks for it.
    """
    from aecore_cli.listing import listed, problems, table_rows

    with working():
        found = listed(load)
    if as_json:
        print_json(found)
        return
    print_table(["name", "version", "hooks", "paper", "status"], table_rows(found))
    for line in problems(found):
        print(line)


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="A plugin; - is read as _.")],
    as_json: o.AsJson = False,
) -> None:
    """Show one plugin.

    Prints its paper, hooks, what it requires and provides, its settings with their ranges, and how to use it.
    """
    from aecore_cli.listing import facts, informed, setting_rows, usage

    with working():
        found = informed(name)
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
