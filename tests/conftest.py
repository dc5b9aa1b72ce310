"""What the tests of the core need besides: the helpers of ``support`` in reach, a cache of their
own, a corpus.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Corpora of tests are cached in a folder of the session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AECORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site-packages of one's own; see `support.Site`."""
    from support import Site

    made = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(str(made.path))
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] in made.packages]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A corpus of 48, 10 and 10 sentences."""
    from support import make_corpus

    return make_corpus(tmp_path_factory.mktemp("corpus"))
