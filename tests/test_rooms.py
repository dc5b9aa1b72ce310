"""The rooms of the house: imports run one way, down the list, and a plugin stands on public names
alone.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: From the ground up: files of the core and folders, which import nothing that stands later.
FLOORS = (
    "errors", "toml", "lazy", "ranks", "distributed", "streams", "secondorder", "batch",
    "posterior", "transfer", "dropout", "initialisation", "crossentropy", "geometry", "matching",
    "data", "hookspec", "manifest", "names", "registries", "composition", "progress",
    "autoencoder", "plugin", "catalogue", "hooks", "step", "vae", "model", "runs", "assembly",
    "generation", "evaluation", "training", "run", "reports", "opening", "api", "scaffold",
    "testing", "executor", "matrix", "comparing", "sweep",
)  # fmt: skip
#: What a plugin may import: the names of `aecore` itself, and these rooms.
PUBLIC = ("aecore", "aecore.geometry", "aecore.matching", "aecore.testing")


def imports(path, with_types=False):
    """The modules that a file imports when it runs, and where annotations alone need them if asked
    for.
    """
    found = []

    def visit(node):
        for child in ast.iter_child_nodes(node):
            types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if types and not with_types:
                continue
            if isinstance(child, ast.ImportFrom) and child.module:
                found.extend((child.module, alias.name) for alias in child.names)
            elif isinstance(child, ast.Import):
                found.extend((alias.name, "") for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def floor(module, name=""):
    """The floor of ``aecore.<floor>...``; None for the package itself, which hands names on."""
    parts = [*module.split("."), name]
    return parts[1] if parts[0] == "aecore" and parts[1] in FLOORS else None


SOURCES = sorted((ROOT / "aecore").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*/src/*/*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path):
    here = path.relative_to(ROOT / "aecore").with_suffix("").parts[0]
    if here == "__init__":
        return
    assert here in FLOORS, f"'{here}' is a room that stands on no floor"
    up = {
        f"{here} imports {there}"
        for there in (floor(*found) for found in imports(path))
        if there is not None and FLOORS.index(there) > FLOORS.index(here)
    }
    assert not up


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_public_names_alone(path):
    private = {m for m, _ in imports(path, True) if m.partition(".")[0] == "aecore"} - set(PUBLIC)
    assert not private
