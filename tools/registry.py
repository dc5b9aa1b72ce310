"""Write registry.toml, docs/plugins.md, manifest.md and compatibility.md, the README's names.

With ``--check`` nothing is written, and 1 returned where a file is another.
"""

from __future__ import annotations

import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from compatibility_page import compatibility
from manifest_page import page

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- plugins: written by make registry -->", "<!-- end of plugins -->"
PLUGINS = """\
# The plugins

<!-- written from plugins/*/src/*/plugin.toml by make registry -->

`aecore plugins info NAME` shows settings, sources and deviations.
"""
HEADER = (
    "# The plugins that aecore knows, installed or not. Generated from "
    "plugins/*/src/*/plugin.toml: make registry\n\n"
)


def listing(folder: Path) -> dict[str, Any]:
    """The registry's entries for one distribution."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (file,) = folder.glob("src/*/plugin.toml")
    manifests = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        name: {
            "distribution": project["name"],
            "install": f"pip install {project['name']}",
            "summary": manifest["summary"],
            "hooks": manifest["hooks"],
            **({"against": manifest["against"]} if "against" in manifest else {}),
            **({"paper": manifest["paper"]} if "paper" in manifest else {}),
        }
        for name, manifest in manifests.items()
    }


def entries() -> dict[str, Any]:
    """Every plugin of ours, by name."""
    found: dict[str, Any] = {}
    for project in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        found |= listing(project.parent)
    return dict(sorted(found.items()))


def render() -> str:
    """The text of registry.toml."""
    return HEADER + tomli_w.dumps(entries())


def plugins_page() -> str:
    """docs/plugins.md: the plugins as a Markdown table."""
    rows = [PLUGINS, "| plugin | what it does | paper | hooks |", "|---|---|---|---|"]
    for name, entry in sorted(entries().items()):
        paper = entry.get("paper")
        source = f"[{paper['venue']} {paper['year']}]({paper['url']})" if paper else "-"
        rows.append(
            f"| `{name}` | {entry['summary']} | {source} | "
            f"{', '.join(f'`{hook}`' for hook in entry['hooks'])} |"
        )
    return "\n".join(rows) + "\n"


def with_names(readme: str) -> str:
    """README.md with the names of the plugins as they should be."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    names = textwrap.fill(", ".join(f"`{name}`" for name in entries()), 100)
    return f"{before}{BEGIN}\n{names}\n{END}{after}"


def main() -> int:
    """0 when the files are written, or are as they should be; 1 when --check finds another."""
    registry, readme = ROOT / "registry.toml", ROOT / "README.md"
    due = {registry: render(), readme: with_names(readme.read_text(encoding="utf-8"))}
    due |= {ROOT / "docs" / "plugins.md": plugins_page(), ROOT / "docs" / "manifest.md": page()}
    due[ROOT / "docs" / "compatibility.md"] = compatibility(ROOT / "results" / "matrix.json")
    stale = [
        file
        for file, text in due.items()
        if not file.is_file() or file.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        for file in stale:
            print(f"{file.name} differs from what it is written from: make registry")
        return 1 if stale else 0
    for file in stale:
        file.write_text(due[file], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
