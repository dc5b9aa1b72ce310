"""The project's words: one for each thing, the field's own; what was called otherwise once is found
nowhere any more.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: What an old word looks like in code, manifests and documents -> what stands in its place.
OLD = {
    r"\bcharged_kl\b": "kl_loss",
    r"(?m)^moves = |provides\.moves|\"moves\"": "kl_gradient",
    r"(?m)^trains = |provides\.trains|\"trains\"": "objective_gradient",
    r"(?m)^latent = \"|provides\.latent": "geometry",
    r"\bkl = \"divergence\"": 'kl = "batch"',
    r"``gain``|`gain`|\"gain\"|\bgain_from_z\b": "z_gap",
    r"(?i)\bshort way\b|\bshort_way\b": "low-rank approximation",
}
TEXTS = sorted(
    path
    for folder in ("aecore", "bench", "cli", "docs", "plugins", "tests", "tools")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".toml", ".md"} and path != Path(__file__)
)


@pytest.mark.parametrize("old", OLD, ids=OLD.values())
def test_no_old_word_is_left(old):
    assert TEXTS
    left = [
        str(path.relative_to(ROOT))
        for path in TEXTS
        if re.search(old, path.read_text(encoding="utf-8"))
    ]
    assert not left
