"""The wheels hold what they need: installed away from the source tree, the command works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.verify
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The root and every plugin, built as wheels and unpacked into one folder."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [ROOT, *(project.parent for project in sorted(ROOT.glob("plugins/*/pyproject.toml")))]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder / "wheels"),
        *map(str, sources),
    ]
    subprocess.run(build, check=True)
    wheels = sorted(map(str, (folder / "wheels").glob("*.whl")))
    assert len(wheels) == len(sources)
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), *wheels], check=True
    )
    return folder / "site"


def run(site, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_package_comes_from_the_wheel_and_brings_its_data(site):
    program = (
        "import aecore, aecore.catalogue as c; print(aecore.__file__); "
        "print(*sorted(c.read_registry(c.registry_path())))"
    )
    done = run(site, "-c", program)
    file, known = done.stdout.splitlines()
    assert file.startswith(str(site)), done.stderr
    assert "controlvae" in known.split()


@pytest.mark.parametrize("package", ["aecore", "aecore_cli"])
def test_types_are_marked(site, package):
    assert (site / package / "py.typed").is_file()


def test_it_trains_and_samples(site):
    done = run(
        site,
        "-m",
        "aecore_cli",
        "train",
        "--plugin",
        "controlvae",
        "--max-steps",
        "3",
        "--out",
        "run",
    )
    assert done.returncode == 0, done.stderr
    done = run(site, "-m", "aecore_cli", "sample", "run", "-n", "2")
    assert done.returncode == 0, done.stderr
