"""Every pair of our plugins does what results/matrix.json says of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.verify
def test_every_pair_is_what_the_record_says(tmp_path):
    record = ROOT / "results" / "matrix.json"
    done = subprocess.run(
        [sys.executable, "-m", "aecore_cli", "matrix", "--against", str(record), "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = json.loads(done.stdout)
    assert found["changes"] == []
    sound = [cell for cell in found["cells"] if len(cell["plugins"]) == 2 and not cell["kind"]]
    assert len(sound) > 150
    assert not [cell["plugins"] for cell in found["cells"] if cell["wrong"]]
