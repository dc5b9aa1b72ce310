"""Build ``.venv/`` when it is missing or stale; return at once when it is not.

The environment holds the project and all of ``plugins/``, editable, and what they need, at the
versions of ``constraints.txt``. A stamp, written last, says what it was built from: a hash, since
times would miss a plugin that has gone. Where there is no stamp something failed, and all starts
over. Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
#: What builds the project has to be there before it, since nothing is built in isolation.
BUILDERS = ("hatchling", "editables")


def main() -> int:
    """Bring ``.venv/`` up to date; 0 when it is, else 1 and a message that says why."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"aecore needs Python 3.11 or newer; {sys.executable} is {found}.", file=sys.stderr)
        print("  name a newer one: make PYTHON=python3.11 install", file=sys.stderr)
        return 1
    lock = os.open(ROOT, os.O_RDONLY)  # children hold it too, and may outlive a killed set-up
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if is_current() else set_up(lock)
    except KeyboardInterrupt:
        print("\nset-up interrupted; the next call starts it again.", file=sys.stderr)
        return 130
    finally:
        os.close(lock)


def units() -> list[Path]:
    """The folders that are distributions of this project, the root first."""
    return [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]


def stamp() -> str:
    """The place and the Python, and a hash of what the content of ``.venv/`` follows from."""
    digest = hashlib.sha256()
    own = [ROOT / "constraints.txt", ROOT / "tools" / "bootstrap.py"]
    for path in [*own, *(unit / "pyproject.toml" for unit in units())]:
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    version = re.search(r"(?m)^__version__ = .*", (ROOT / "aecore/__init__.py").read_text("utf-8"))
    digest.update(version[0].encode() if version else b"")
    return f"{ROOT} {sys.version_info[:2]}\n{digest.hexdigest()}\n"


def found() -> str | None:
    """The stamp of the last set-up that came to its end."""
    path = ROOT / ".venv" / "aecore-stamp"
    whole = path.is_file() and (ROOT / ".venv/bin/python").exists()
    return path.read_text("utf-8") if whole else None


def is_current() -> bool:
    """Whether nothing has to be done."""
    return found() == stamp()


def set_up(lock: int) -> int:
    """Make or mend the environment, and stamp it; the code of the step that failed."""
    began, venv, before, wanted = time.monotonic(), ROOT / ".venv", found(), stamp()
    python = str(venv / "bin" / "python")
    if before is None or before.partition("\n")[0] != wanted.partition("\n")[0]:
        say("creating .venv and installing what is needed, torch among it: a minute or more")
        venv.unlink() if venv.is_symlink() else shutil.rmtree(venv, ignore_errors=True)
        steps = [[sys.executable, "-m", "venv", str(venv)]]
    else:
        say("something has changed: bringing .venv up to date")
        (venv / "aecore-stamp").unlink()
        steps = []
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    if gone := orphans():
        say(f"removing {', '.join(gone)}: no longer in plugins/")
        steps.append([*pip, "uninstall", "--yes", *gone])
    install = [*pip, "install", "--constraint", str(ROOT / "constraints.txt")]
    editable = [word for unit in units()[1:] for word in ("--editable", str(unit))]
    steps.append([*install, *BUILDERS])
    steps.append([*install, "--no-build-isolation", "--editable", f"{ROOT}[dev]", *editable])
    for step in steps:
        if code := run(step, lock):
            return code
    (venv / "aecore-stamp").write_text(wanted, "utf-8")
    say(f"done in {time.monotonic() - began:.0f} s")
    return 0


def orphans() -> list[str]:
    """Editable distributions in ``.venv/`` whose folder in the project has gone."""
    gone = []
    for record in (ROOT / ".venv").glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        origin = json.loads(record.read_text("utf-8"))
        folder = Path(unquote(urlsplit(origin["url"]).path))
        if folder.is_relative_to(ROOT) and not (folder / "pyproject.toml").exists():
            gone.append(record.parent.name.partition("-")[0].replace("_", "-"))
    return sorted(gone)


def run(command: list[str], lock: int) -> int:
    """Run quietly: big downloads are shown as they begin, and all that was said where it failed."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    said = []
    with subprocess.Popen(command, cwd=ROOT, pass_fds=(lock,), **piped) as process:  # type: ignore[call-overload]
        for line in process.stdout:
            said.append(line)
            if big := re.search(r"Downloading ([^-\s]+-[^-\s]+)\S* (\(\d\d[\d.]* MB\))", line):
                say(f"downloading {big[1]} {big[2]}")
    if process.returncode:
        print("".join(said[-15:]), file=sys.stderr)
        print(f"set-up failed at: {' '.join(command[:4])} ...", file=sys.stderr)
        print("  without a network: point pip at a mirror or at wheels", file=sys.stderr)
        print("  (PIP_INDEX_URL, PIP_FIND_LINKS), then call again: it starts over", file=sys.stderr)
    return int(process.returncode != 0)


def say(text: str) -> None:
    """A line on what goes on."""
    print(f"[set-up] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
