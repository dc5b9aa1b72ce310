"""Every command and listing of docs/writing-a-plugin.md, docs/composing.md, docs/transfer.md and
README.md, run in order in an empty folder.

A ``console`` block holds commands behind ``$`` (and ``>`` where one goes on) and what they print,
in which ``...`` stands for anything. A block behind a line that ends in a file's name and a colon
is that file; a ``python`` block without one is run. In plain blocks, lines that begin with
``aecore`` are run.
"""

import os
import re
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.verify
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:^`(?P<file>[^`\n]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is, and the line where it begins."""

    kind: str
    file: str | None
    text: str
    line: int

    @classmethod
    def all_of(cls, document):
        text = document.read_text(encoding="utf-8")
        return [
            cls(m["kind"], m["file"], m["text"], text[: m.start()].count("\n") + 1)
            for m in BLOCK.finditer(text)
        ]

    def commands(self):
        """(command, expected output) pairs."""
        found = []
        for line in self.text.splitlines():
            if self.kind == "console" and line.startswith("$ "):
                found.append(([line[2:]], []))
            elif self.kind == "console" and line.startswith("> ") and not found[-1][1]:
                found[-1][0].append(line[2:])
            elif self.kind == "console":
                found[-1][1].append(line)
            elif not self.kind and line.startswith("aecore "):
                found.append(([line], []))
        return [("\n".join(words), "\n".join(output)) for words, output in found]


class Shell:
    """A shell in an environment that sees this one's packages and keeps what is installed to
    itself.
    """

    def __init__(self, folder):
        self.folder = folder / "work"
        self.folder.mkdir()
        self.python = make_environment(folder / "venv")
        self.exported = {}

    def run(self, command):
        """Output of both kinds, the exit code behind it; exports last."""
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.exported[name] = value
            return 0, "", ""
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        unwanted = {"PYTHONPATH", "AECORE_REGISTRY", "COLUMNS"}
        inherited = {name: value for name, value in os.environ.items() if name not in unwanted}
        environment = inherited | {
            "PATH": path,
            "OMP_NUM_THREADS": "1",
            "AECORE_CACHE": str(self.folder.parent / "cache"),
        }
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment | self.exported,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=170,
        )
        return done.returncode, done.stdout, done.stderr


def make_environment(folder):
    """A virtual environment to which the packages of this one, and the source tree, are visible;
    its Python.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    seen = [
        sysconfig.get_path("purelib"),
        ROOT,
        ROOT / "cli",
        *(path.parent / "src" for path in plugins()),
    ]
    (site / "seen.pth").write_text("".join(f"{path}\n" for path in seen))
    program = folder / "bin" / "aecore"
    program.write_text(
        f"#!{python}\nimport sys\nfrom aecore_cli.__main__ import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    return python


def plugins():
    return sorted(ROOT.glob("plugins/*/pyproject.toml"))


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def follow(shell, block, where, replaced=()):
    """Do what a block says; what is printed has to be what it shows."""
    place = f"{where}:{block.line}"
    if block.file:
        path = shell.folder / block.file
        assert path.parent.is_dir(), f"{place} writes {block.file} into a folder that is not there"
        path.write_text(block.text)
    elif block.kind == "python":
        code, out, err = shell.run(
            f"cat > listing.py <<'END'\n{block.text}\nEND\npython listing.py"
        )
        assert code == 0, f"{place}\n{out}{err}"
    for command, expected in block.commands():
        for old, new in replaced:
            command = command.replace(old, new)
        code, out, err = shell.run(command)
        wrong = re.search("(?m)^error: ", expected) is not None
        assert code == (2 if wrong else 0), f"{place}\n$ {command}\n{out}{err}"
        shown = err if wrong else out
        assert matches(expected, shown), (
            f"{place}\n$ {command}\n--- expected\n{expected}\n--- printed\n{shown}"
        )


def matches(expected, shown):
    """Nothing shown means that nothing is compared; a line ``...`` may stand for no line at all."""
    if not expected.strip():
        return True
    expected = re.sub(r"(?m)^\.\.\.\n", "<any>", expected + "\n").rstrip("\n")
    pattern = (
        re.escape(expected)
        .replace(re.escape("<any>"), r"(?:.*\n)*?")
        .replace(re.escape("..."), ".*?")
    )
    pattern = re.sub(r"(?:\\ )+", " +", pattern)
    return (
        re.fullmatch(pattern, shown.strip("\n")) is not None
        or re.fullmatch(pattern, shown.strip("\n") + "\n") is not None
    )


def test_the_tutorial(shell):
    document = ROOT / "docs" / "writing-a-plugin.md"
    blocks = Block.all_of(document)
    assert sum(len(block.commands()) for block in blocks) > 25
    for block in blocks:
        follow(shell, block, document.name)


def test_the_page_on_composing(shell):
    document = ROOT / "docs" / "composing.md"
    blocks = Block.all_of(document)
    assert sum(len(block.commands()) for block in blocks) == 4
    for block in blocks:
        follow(shell, block, document.name)


def test_the_page_on_rewriting(shell):
    document = ROOT / "docs" / "transfer.md"
    blocks = Block.all_of(document)
    assert sum(len(block.commands()) for block in blocks) == 7
    for block in blocks:
        follow(shell, block, document.name)


def test_the_readme(shell):
    document = ROOT / "README.md"
    corpus = shell.folder / "corpus"
    corpus.mkdir()
    for name, count in (("train", 60), ("valid", 10), ("test", 10)):
        lines = (
            f"the {('cat', 'dog', 'bird')[n % 3]} sees {('a tree', 'the sun')[n % 2]} today"
            for n in range(count)
        )
        (corpus / f"{name}.txt").write_text("\n".join(lines) + "\n")
    blocks = [block for block in Block.all_of(document) if "$ make" not in block.text]
    for block in blocks:
        follow(
            shell,
            block,
            document.name,
            [("path/to/ptb", str(corpus)), ("path/to/text", str(corpus))],
        )


@pytest.mark.parametrize(
    ("expected", "shown", "same"),
    [
        ("", "anything", True),
        ("a\n...\nd", "a\nb\nc\nd\n", True),
        ("a\n...\nd", "a\nd\n", True),
        ("a\n...", "a\n", True),
        ("...\nd", "a\nd\n", True),
        ("x ... z", "x y z\n", True),
        ("x  1.0", "x     1.0\n", True),
        ("a\n...\nd", "a\nb\n", False),
        ("a", "a\nb\n", False),
        ("x ... z", "x y\nz\n", False),
    ],
)
def test_what_dots_stand_for(expected, shown, same):
    assert matches(expected, shown) == same


def test_the_parts_of_a_document_are_found(tmp_path):
    console = "```console\n$ one <<E\n> two\n> E\nout\n$ three\n```"
    plain = "```\naecore train\nelse\n```"
    (tmp_path / "d.md").write_text(f"`a/b.py`:\n\n```python\nx = 1\n```\n\n{console}\n\n{plain}\n")
    listing, console, plain = Block.all_of(tmp_path / "d.md")
    assert (listing.file, listing.kind, listing.text) == ("a/b.py", "python", "x = 1\n")
    assert console.commands() == [("one <<E\ntwo\nE", "out"), ("three", "")]
    assert plain.commands() == [("aecore train", "")]


def test_the_page_on_scale(shell):
    document = ROOT / "docs" / "scale.md"
    blocks = Block.all_of(document)
    assert sum(len(block.commands()) for block in blocks) == 5
    for block in blocks:
        follow(shell, block, document.name)


def test_the_page_on_comparing(shell):
    document = ROOT / "docs" / "comparing.md"
    blocks = Block.all_of(document)
    assert sum(len(block.commands()) for block in blocks) == 4
    for block in blocks:
        follow(shell, block, document.name)
