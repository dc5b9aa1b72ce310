"""The set-up: what makes an environment stale, what is done about it, and that a failure leaves no
stamp.
"""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "bootstrap.py"


@pytest.fixture
def project(tmp_path):
    """A project of a root and two plugins, with the set-up of its own and commands that are only
    noted.
    """
    files = {
        "constraints.txt": "torch==2.13.0\n",
        "pyproject.toml": '[project]\nname = "aecore"\n',
        "aecore/__init__.py": '__version__ = "0.1.0"\n',
        "plugins/one/pyproject.toml": '[project]\nname = "aecore-one"\n',
        "plugins/two/pyproject.toml": '[project]\nname = "aecore-two"\n',
        "tools/bootstrap.py": TOOL.read_text(encoding="utf-8"),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("bootstrap", tmp_path / "tools/bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.commands, module.failing = [], None

    def run(command, lock):
        module.commands.append(command)
        if "venv" in command:
            python = tmp_path / ".venv/bin/python"
            python.parent.mkdir(parents=True)
            python.touch()
        return int(module.failing is not None and module.failing in command)

    module.really_run, module.run = module.run, run
    return module


def words(module):
    """The first words of the commands, and nothing of them afterwards."""
    done = ["venv" if "venv" in command else command[5] for command in module.commands]
    module.commands.clear()
    return done


def test_a_new_environment_then_nothing(project):
    assert project.main() == 0
    installed = project.commands[-1]
    assert installed[-5:] == [
        f"{project.ROOT}[dev]",
        "--editable",
        str(project.ROOT / "plugins/one"),
        "--editable",
        str(project.ROOT / "plugins/two"),
    ]
    assert words(project) == ["venv", "install", "install"]
    assert project.main() == 0
    assert words(project) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("constraints.txt", "torch==2.13.1\n"),
        ("plugins/one/pyproject.toml", '[project]\nname = "aecore-one"\nversion = "2"\n'),
        ("plugins/three/pyproject.toml", '[project]\nname = "aecore-three"\n'),
        ("aecore/__init__.py", '__version__ = "0.2.0"\n'),
    ],
)
def test_what_changed_is_installed_into_the_environment_that_is_there(project, name, text):
    project.main()
    words(project)
    path = project.ROOT / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert project.main() == 0
    assert words(project) == ["install", "install"]


def test_code_and_times_make_nothing_stale(project):
    project.main()
    (project.ROOT / "aecore/__init__.py").write_text('"""More."""\n\n__version__ = "0.1.0"\n')
    (project.ROOT / "constraints.txt").touch()
    assert project.is_current()


@pytest.mark.parametrize("word", ["venv", "install", "uninstall"])
def test_a_failure_starts_over(project, word):
    if word != "venv":
        project.main()
        stale(project, "gone")
        words(project)
    project.failing = word
    assert project.main() == 1
    assert not (project.ROOT / ".venv/aecore-stamp").exists()
    words(project)
    project.failing = None
    assert project.main() == 0
    assert words(project)[0] == "venv"


def stale(project, name):
    """A record of an editable distribution whose folder is not there, and a change that asks for a
    set-up.
    """
    record = project.ROOT / f".venv/lib/python3.11/site-packages/aecore_{name}-0.1.0.dist-info"
    record.mkdir(parents=True)
    origin = {"url": (project.ROOT / "plugins" / name).as_uri(), "dir_info": {"editable": True}}
    (record / "direct_url.json").write_text(json.dumps(origin))
    (project.ROOT / "constraints.txt").write_text("torch==2.13.2\n")


def test_a_plugin_that_has_gone_is_removed_and_one_from_elsewhere_stays(project, tmp_path_factory):
    project.main()
    words(project)
    stale(project, "gone")
    other = tmp_path_factory.mktemp("other")
    record = project.ROOT / ".venv/lib/python3.11/site-packages/aecore_mine-0.1.0.dist-info"
    record.mkdir()
    (record / "direct_url.json").write_text(json.dumps({"url": other.as_uri()}))
    assert project.orphans() == ["aecore-gone"]
    assert project.main() == 0
    assert project.commands[0][5:] == ["uninstall", "--yes", "aecore-gone"]


def test_an_environment_of_another_python_is_made_anew(project):
    project.main()
    words(project)
    stamp = project.ROOT / ".venv/aecore-stamp"
    stamp.write_text(stamp.read_text().replace(str(sys.version_info[:2]), "(3, 10)"))
    assert project.main() == 0
    assert words(project)[0] == "venv"


def test_an_old_python_is_told(project, monkeypatch, capsys):
    monkeypatch.setattr(project.sys, "version_info", (3, 9, 2))
    assert project.main() == 1
    assert "is 3.9.2" in capsys.readouterr().err
    assert words(project) == []


def test_what_failed_is_shown(project, capsys):
    code = "print('Downloading torch-2.13.0-cp311.whl (192.5 MB)'); print('no such thing'); exit(3)"
    assert project.really_run([sys.executable, "-c", code], 0) == 1
    said = capsys.readouterr()
    assert "downloading torch-2.13.0 (192.5 MB)" in said.out
    assert "no such thing" in said.err
    assert "call again" in said.err
