"""The cache of prepared corpora: built once under a lock, then memory-mapped by every process.

An entry is a folder ``PATHS-CONTENT-OPTIONS`` of hashes: of where the files are, of what is in
them, and of what was made of them, the vocabulary included. A file ``PATHS-CONTENT-RECIPE.json``
says which vocabulary a recipe led to. So a run that brings its vocabulary finds the entry that its
training built.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from aecore.data.build import Contents, Order, assemble, build
from aecore.data.readers import Report, Source, unreadable
from aecore.data.rows import Kind
from aecore.data.splits import Corpus
from aecore.data.store import FolderStore, MemoryStore, check
from aecore.data.vocabulary import Vocabulary
from aecore.errors import AecoreError, DataError

#: Part of every key; a new number leaves all older entries behind.
FORMAT = 2
#: Up to so many bytes of text may be held in memory where no folder can be written.
SMALL = 256 * 2**20
_WORTH_SAYING = 50 * 2**20
_ENDS = 2**16
Tell = Callable[[str], None]


class _Meta(BaseModel):
    """meta.json of an entry; ``files`` are the checks of all its other files."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: int
    kind: Kind
    labels: list[str]
    reports: list[Report]
    fingerprint: str
    files: dict[str, str]


def cached(sources: Mapping[str, Source], order: Order, tell: Tell) -> Corpus:
    """The corpus of these files, from the cache, or built and left there.

    Where the cache cannot be written, the corpus is built in a temporary folder of its own, or in
    memory, and ``tell`` says so.

    Raises:
        DataError: for files that cannot be read or hold no corpus, and for a large corpus when
            there is no room to build it.
    """
    keys = _Keys(sources, order)
    try:
        folder = cache_folder()
        found = _find(folder, keys, order, tell)
        if found is not None:
            return found
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder / f"{keys.paths}.lock", tell):
            return _find(folder, keys, order, lambda _: None) or _build_entry(
                folder, sources, order, keys, tell
            )
    except OSError as error:
        reason = error.strerror or error
        tell(
            f"the cache cannot be written ({error.filename}: {reason}), so the text is prepared "
            f"for this process alone"
        )
        return _build_alone(sources, order, keys, error)


def cache_folder() -> Path:
    """``$AECORE_CACHE/data``, else ``$XDG_CACHE_HOME/aecore/data``, else ``~/.cache/aecore/data``.

    Raises:
        OSError: for a user without a home folder.
    """
    if named := os.environ.get("AECORE_CACHE"):
        return Path(os.path.expanduser(named)).absolute() / "data"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")
    if not os.path.isabs(shared) and home == "~":
        raise OSError(0, "this user has no home folder", home)
    return (Path(shared) if os.path.isabs(shared) else Path(home, ".cache")) / "aecore" / "data"


# What names an entry


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    changed: int
    ends: str

    @classmethod
    def of(cls, path: Path) -> _File:
        """The identity of a file: path, size, time of change, and the bytes at its two ends."""
        try:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                ends = sha256(file.read(_ENDS))
                file.seek(max(0, stat.st_size - _ENDS))
                ends.update(file.read(_ENDS))
        except OSError as error:
            raise unreadable(path, error) from error
        return cls(str(path.resolve()), stat.st_size, stat.st_mtime_ns, ends.hexdigest())


class _Keys:
    """The names of what the cache holds for some files and an order."""

    def __init__(self, sources: Mapping[str, Source], order: Order) -> None:
        self._sources = sources
        self._options = (FORMAT, order.max_length, order.spec.fraction, order.spec.sentences)
        self._recipe = (order.recipe.kind, order.recipe.size, order.recipe.min_count)
        self.files = self._look()

    def _look(self) -> list[_File]:
        return [_File.of(source.path) for source in self._sources.values()]

    @property
    def size(self) -> int:
        """Bytes of text."""
        return sum(file.size for file in self.files)

    @cached_property
    def paths(self) -> str:
        return _hash([file.path for file in self.files])

    @cached_property
    def content(self) -> str:
        return _hash(self.files)

    @property
    def recipe(self) -> str:
        """The file that says which vocabulary the recipe led to."""
        return f"{self.paths}-{self.content}-{_hash((self._options, self._recipe))}.json"

    def entry(self, tokenizer: str) -> str:
        """The folder for a vocabulary, named by the SHA-256 of its JSON."""
        return f"{self.paths}-{self.content}-{_hash((self._options, tokenizer))}"

    def require_unchanged(self) -> None:
        """DataError where the files are not what they were when the keys were made."""
        if self._look() != self.files:
            raise DataError(
                "the corpus has changed while it was read.",
                "start again once its files are complete",
            )


def _hash(value: object) -> str:
    return sha256(repr(value).encode()).hexdigest()[:24]


def _sha(vocabulary: Vocabulary) -> str:
    return sha256(vocabulary.to_json().encode()).hexdigest()


# Finding an entry


def _find(folder: Path, keys: _Keys, order: Order, tell: Tell) -> Corpus | None:
    """The entry, if it is there and whole."""
    try:
        sha = (
            _sha(order.vocabulary)
            if order.vocabulary is not None
            else json.loads((folder / keys.recipe).read_text())["tokenizer"]
        )
        entry = folder / keys.entry(sha)
        if not entry.is_dir():
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    corpus = _open(entry, order.vocabulary, sha)
    if corpus is None:
        tell(f"the cache entry '{entry}' is damaged and is built again")
    return corpus


def _open(entry: Path, vocabulary: Vocabulary | None, sha: str) -> Corpus | None:
    """Map an entry, or None where anything about it is not as it was written."""
    try:
        meta = _Meta.model_validate_json((entry / "meta.json").read_bytes())
        text = (entry / "tokenizer.json").read_bytes()
        if meta.format != FORMAT or sha256(text).hexdigest() != sha:
            return None
        if meta.files != _checks(entry):
            return None
        contents = Contents(meta.kind, tuple(meta.labels), tuple(meta.reports), meta.fingerprint)
        return assemble(
            FolderStore(entry), contents, vocabulary or Vocabulary.from_json(text.decode())
        )
    except (OSError, ValidationError, UnicodeDecodeError, RuntimeError, AecoreError):
        return None


def _checks(entry: Path) -> dict[str, str]:
    return {path.name: check(path) for path in sorted(entry.iterdir()) if path.name != "meta.json"}


# Building one


def _build_entry(
    folder: Path, sources: Mapping[str, Source], order: Order, keys: _Keys, tell: Tell
) -> Corpus:
    """Build beside the cache's entries, then rename; the lock is held."""
    if keys.size > _WORTH_SAYING:
        tell(f"reading {keys.size / 1e9:.2f} GB of text into the cache {folder}, once")
    _sweep(folder, keys)
    work = Path(tempfile.mkdtemp(prefix=f".{keys.paths}-", dir=folder))
    try:
        corpus = build(sources, order, FolderStore(work))
        keys.require_unchanged()
        sha = _sha(corpus.vocabulary)
        _write_meta(work, corpus)
        entry = folder / keys.entry(sha)
        shutil.rmtree(entry, ignore_errors=True)
        work.rename(entry)
        if order.vocabulary is None:
            _point(folder / keys.recipe, sha)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return corpus


def _write_meta(folder: Path, corpus: Corpus) -> None:
    (folder / "tokenizer.json").write_bytes(corpus.vocabulary.to_json().encode())
    meta = _Meta(
        format=FORMAT,
        kind=corpus.kind,
        labels=list(corpus.labels),
        reports=list(corpus.reports),
        fingerprint=corpus.fingerprint,
        files=_checks(folder),
    )
    (folder / "meta.json").write_text(meta.model_dump_json(indent=1))


def _point(path: Path, sha: str) -> None:
    """Write a recipe's file whole, or not at all."""
    new = path.with_name(f".{path.name}")
    new.write_text(json.dumps({"tokenizer": sha}))
    new.replace(path)


def _sweep(folder: Path, keys: _Keys) -> None:
    """Remove what killed builds of these files left, and what was made of older contents."""
    stale = [
        path
        for path in folder.glob(f"{keys.paths}-*")
        if not path.name.startswith(f"{keys.paths}-{keys.content}-")
    ]
    for path in (*stale, *folder.glob(f".{keys.paths}-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _build_alone(sources: Mapping[str, Source], order: Order, keys: _Keys, why: OSError) -> Corpus:
    """Build in a folder that is gone as soon as it is mapped, else in memory."""
    try:
        with tempfile.TemporaryDirectory(prefix="aecore-") as folder:
            return build(sources, order, FolderStore(Path(folder)))
    except OSError as error:
        if keys.size <= SMALL:
            return build(sources, order, MemoryStore())
        raise DataError(
            f"there is no room to prepare {keys.size / 1e9:.1f} GB of text.",
            f"cache:            {why.filename}: {why.strerror or why}",
            f"temporary folder: {error.filename}: {error.strerror or error}",
            "AECORE_CACHE names another folder for the cache; it takes about as much room as the "
            "text",
        ) from error


@contextmanager
def _locked(path: Path, tell: Tell) -> Iterator[None]:
    """Hold a lock that the system drops when the process dies; wait for it if need be."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another process prepares this corpus: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
