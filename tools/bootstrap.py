"""Build ``.venv/`` when it is missing or stale; return at once when it is not.

One environment holds the third-party packages of every ``pyproject.toml`` of the project, at the
versions of ``constraints.txt``, and the project itself: the root and each folder of ``plugins/``,
editable, in one pip call without build isolation. A stamp named by a hash of all that decides its
content says whether it is up to date; time stamps would miss a removed plugin and rebuild on every
clone.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST = (3, 11)
EXTRA = "dev"

# What this environment was created for: written last, so that half a venv has none.
IDENTITY = VENV / "aecore-identity"
# There while pip works. Where it is found later, pip was killed, and what it left cannot be
# trusted.
UNFINISHED = VENV / "aecore-unfinished"


class SetupError(Exception):
    """The environment cannot be built; the message says why and what to do."""


def main() -> int:
    """Bring ``.venv/`` up to date; 0 when it is, 1 with a message when it cannot be."""
    try:
        check_python()
        if not is_current():
            with locked() as lock:
                if not is_current():  # whoever held the lock may have done it
                    set_up(lock)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; the next call starts it again.", file=sys.stderr)
        return 130
    return 0


def set_up(lock: int) -> None:
    started = time.monotonic()
    wanted, units = fingerprint(), find_units()
    requirements, names = (
        third_party(units),
        {unit: normalised(read_project(unit)["name"]) for unit in units},
    )
    fresh = ensure_venv(lock)
    for stamp in VENV.glob("aecore-stamp-*"):
        stamp.unlink()
    pip = Pip(lock)
    say(
        f"installing {len(requirements)} packages, torch among them: a minute or more"
        if fresh
        else "checking packages"
    )
    pip("install", "--constraint", str(CONSTRAINTS), *requirements)
    if orphans := orphaned(names):
        say(f"removing {', '.join(orphans)}: no longer in plugins/")
        pip("uninstall", "--yes", *orphans)
    say(f"installing aecore and {len(units) - 1} plugins, editable")
    pip(
        "install",
        "--no-build-isolation",
        "--no-deps",
        *(word for unit in units for word in ("--editable", str(unit))),
    )
    stamp_path(wanted).touch()
    say(f"done in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    print(f"[set-up] {text}", flush=True)


# Is it up to date?


def is_current() -> bool:
    return stamp_path(fingerprint()).exists() and PYTHON.exists()


def stamp_path(digest: str) -> Path:
    return VENV / f"aecore-stamp-{digest}"


def fingerprint() -> str:
    """A hash of everything that decides what ``.venv/`` holds."""
    digest = hashlib.sha256(identity().encode())
    for path in [
        *(unit / "pyproject.toml" for unit in find_units()),
        CONSTRAINTS,
        ROOT / "Makefile",
        Path(__file__).resolve(),
    ]:
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def identity() -> str:
    """The place and the Python: a venv of another one cannot be mended, only made anew."""
    return f"{sys.implementation.cache_tag} {ROOT}"


def find_units() -> list[Path]:
    """The folders that are distributions of this project, the root first."""
    return [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]


@contextlib.contextmanager
def locked() -> Iterator[int]:
    """Hold the project folder, so that two calls at once do not build the same environment.

    Children hold the lock too: where one outlives a killed set-up, the next call waits for it.
    """
    import fcntl

    lock = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


# The venv


def check_python() -> None:
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SetupError(
            f"aecore needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is {found}.\n"
            "  name a newer one: make PYTHON=python3.11 install"
        )


def ensure_venv(lock: int) -> bool:
    """Leave a venv that is whole and made for this place and this Python; True if it had to be created."""
    reason = why_rebuild()
    if reason is None:
        return False
    check_venv_module()
    if VENV.exists() or VENV.is_symlink():
        say(f"removing .venv: {reason}")
        remove_venv()
    say(f"creating .venv with Python {'.'.join(map(str, sys.version_info[:3]))}")
    command = [sys.executable, "-m", "venv", str(VENV)]
    created = subprocess.run(command, capture_output=True, text=True, pass_fds=(lock,))
    if created.returncode:
        raise SetupError(f"python -m venv failed:\n{indent(created.stdout + created.stderr)}")
    IDENTITY.write_text(identity())
    return True


def why_rebuild() -> str | None:
    """Why the present ``.venv/`` cannot be mended, or None."""
    if not IDENTITY.exists():
        return "it is incomplete, or not from here"
    if IDENTITY.read_text() != identity():
        return "it was made for another Python or another folder"
    if not PYTHON.exists():
        return "its Python has gone"
    if UNFINISHED.exists():
        return "its set-up was interrupted"
    return None


def remove_venv() -> None:
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    else:
        # first: what a kill leaves of the rest must not look whole
        IDENTITY.unlink(missing_ok=True)
        shutil.rmtree(VENV)


def check_venv_module() -> None:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(
            f"{sys.executable} comes without its module {' and '.join(missing)}, so it cannot create .venv.\n"
            f"  on Debian and Ubuntu: sudo apt install python{version}-venv\n"
            "  or name another Python: make PYTHON=/path/to/python3 install"
        )


# What goes into it


def third_party(units: list[Path]) -> list[str]:
    """What the units need that is not part of the project: their dependencies and those of their extra ``dev``."""
    found: set[str] = set()
    for unit in units:
        project = read_project(unit)
        found.update(project.get("dependencies", []))
        found.update(project.get("optional-dependencies", {}).get(EXTRA, []))
    return sorted(requirement for requirement in found if not is_ours(requirement))


def is_ours(requirement: str) -> bool:
    name = normalised(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])
    return name == "aecore" or name.startswith("aecore-")


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_project(unit: Path) -> dict[str, Any]:
    import tomllib  # not at the top: an older Python has to come as far as check_python

    path = unit / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path.relative_to(ROOT)} is not TOML: {error}") from None
    if "name" not in project:
        raise SetupError(f"{path.relative_to(ROOT)} has no [project] table with a name.")
    return project


def orphaned(names: dict[Path, str]) -> list[str]:
    """Editable distributions in the venv whose folder has gone or has another name now."""
    return sorted(name for name, folder in editables() if not is_present(name, folder, names))


def is_present(name: str, folder: Path, names: dict[Path, str]) -> bool:
    if folder in names:
        return names[folder] == name
    # a plugin installed by hand from elsewhere stays
    return not folder.is_relative_to(ROOT) and folder.is_dir()


def editables() -> Iterator[tuple[str, Path]]:
    """Name and folder of every editable distribution, read from pip's own records."""
    for record in VENV.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        origin = json.loads(record.read_text(encoding="utf-8"))
        if origin.get("dir_info", {}).get("editable"):
            yield (
                normalised(record.parent.name.split("-")[0]),
                Path(unquote(urlsplit(origin["url"]).path)),
            )


# pip


class Pip:
    """pip of the venv, silent but for big downloads; what it had to say is shown when it fails."""

    def __init__(self, lock: int) -> None:
        self._lock = lock

    def __call__(self, *words: str) -> None:
        options = ["--disable-pip-version-check", "--no-input"]
        command = [str(PYTHON), "-m", "pip", words[0], *options, *words[1:]]
        UNFINISHED.touch()
        with subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._lock,),
        ) as process:
            lines = list(self._followed(process))
        if process.returncode < 0:
            raise SetupError(
                f"pip was killed by signal {-process.returncode}; call again to start anew."
            )
        UNFINISHED.unlink()  # also where pip failed: it then undoes what it began
        if process.returncode:
            raise SetupError(self._failure(words[0], lines))

    @staticmethod
    def _followed(process: subprocess.Popen[str]) -> Iterator[str]:
        assert process.stdout is not None
        for line in process.stdout:
            if big := re.search(r"Downloading ([^-\s]+-[^-\s]+)\S* (\([\d.]+ [MG]B\))", line):
                say(f"downloading {big[1]} {big[2]}")
            yield line

    @staticmethod
    def _failure(verb: str, lines: list[str]) -> str:
        told = [
            line
            for line in lines
            if not line.startswith(
                ("WARNING: ", "Requirement already", "Collecting ", "  Using cached")
            )
        ]
        return (
            f"pip {verb} failed:\n{indent(''.join(told[-15:]))}\n"
            "  where the network is missing: point pip at a mirror or a folder of wheels (PIP_INDEX_URL, PIP_FIND_LINKS)\n"
            "  then call again: it goes on where it stopped"
        )


def indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


if __name__ == "__main__":
    sys.exit(main())
