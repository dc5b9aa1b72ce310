"""Write registry.toml from the plugin.toml and pyproject.toml of every folder in plugins/; with --check, only compare."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).parent.parent
HEADER = "# The plugins that aecore knows, installed or not. Generated from plugins/*/src/*/plugin.toml: make registry\n\n"


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
            "paper": manifest["paper"],
        }
        for name, manifest in manifests.items()
    }


def render() -> str:
    """The text of registry.toml."""
    entries: dict[str, Any] = {}
    for project in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        entries |= listing(project.parent)
    return HEADER + tomli_w.dumps(dict(sorted(entries.items())))


def main() -> int:
    """0 when the file is written, or is as it should be; 1 when --check finds another."""
    file, text = ROOT / "registry.toml", render()
    if "--check" not in sys.argv:
        file.write_text(text, encoding="utf-8")
        return 0
    same = file.is_file() and file.read_text(encoding="utf-8") == text
    print("registry.toml is up to date" if same else "registry.toml differs from the plugins: make registry")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
