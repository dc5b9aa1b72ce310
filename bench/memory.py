"""Private memory against corpus size: ``python -m bench.memory [--large MEGABYTES]``, Linux.

Two synthetic corpora are written to a temporary folder and each is loaded twice, in processes of
their own: from the text, then from the cache. Every process draws batches from all over an epoch
plan and an evaluation plan of the training split.

What is compared is ``Private_Dirty`` of /proc/self/smaps_rollup: the pages that belong to this
process and that the system can only swap, not drop. Pages of the mapped cache are left out on
purpose: they are clean, the system drops them when memory is short, and the processes of one
machine share them. ``peak`` is the most anonymous memory (RssAnon) that was ever seen.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

MEGABYTE = 2**20
WORDS = 20_000
BATCH = 32
DRAWN = 300


def main() -> None:
    """Make corpora of both sizes, load them in processes of their own, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", type=int, default=20, metavar="MEGABYTES")
    parser.add_argument("--large", type=int, default=2048, metavar="MEGABYTES")
    parser.add_argument(
        "--folder", type=Path, help="measure one load of this corpus and print JSON"
    )
    arguments = parser.parse_args()
    if arguments.folder is not None:
        print(json.dumps(measure(arguments.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="aecore-memory-") as scratch:
        compare(Path(scratch), arguments.small, arguments.large)


def compare(scratch: Path, small: int, large: int) -> None:
    """Write, load and print; the difference is what the larger corpus costs."""
    print(
        f"{'corpus':>10} {'load':>7} {'sentences':>12} {'seconds':>8} {'private MB':>11} "
        f"{'peak MB':>8} {'mapped MB':>10}"
    )
    private: dict[str, list[float]] = {"text": [], "cache": []}
    for size in (small, large):
        write(scratch / f"{size}", size)
        for load in private:
            found = _child(scratch / f"{size}", scratch / "cache")
            private[load].append(found["private"])
            row = f"{found['sentences']:>12,} {found['seconds']:>8.2f} {found['private']:>11.1f}"
            print(
                f"{size:>7} MB {load:>7} {row} {found['peak']:>8.1f} {found['mapped']:>10.1f}",
                flush=True,
            )
    for load, (first, second) in private.items():
        print(
            f"private memory, {load}: {second - first:+.1f} MB from {small} to {large} MB of text"
        )


def _child(folder: Path, cache: Path) -> dict[str, float]:
    environment = {**os.environ, "AECORE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.memory", "--folder", str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def write(folder: Path, megabytes: int) -> None:
    """A corpus of Zipf words, 3 to 31 to a sentence, repeated in other orders."""
    draw = random.Random(0)
    words = [
        "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9)))
        for _ in range(WORDS)
    ]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    folder.mkdir()
    lines: list[str] = []
    drawn = iter(draw.choices(words, weights, k=2_000_000))
    while line := list(islice(drawn, draw.randint(3, 31))):
        lines.append(" ".join(line))
    with (folder / "train.txt").open("w") as file:
        while (left := megabytes * MEGABYTE - file.tell()) > 0:
            draw.shuffle(lines)
            share = min(1.0, left / sum(map(len, lines)))
            file.writelines(f"{line}\n" for line in lines[: 1 + int(share * len(lines))])
    for name in ("valid", "test"):
        (folder / f"{name}.txt").write_text("\n".join(lines[:1000]) + "\n")


def measure(folder: Path) -> dict[str, float]:
    """Load a corpus in this process, draw, and say what it took."""
    from aecore.data.batching import epoch_plan, evaluation_plan, some_sentences
    from aecore.data.corpus import load_corpus
    from aecore.streams import stream

    peak = _Peak()
    start = time.perf_counter()
    corpus = load_corpus(str(folder))
    seconds = time.perf_counter() - start
    with stream("bench", 0):
        plan = epoch_plan(corpus.train, BATCH, "bucketed")
        some_sentences(len(corpus.train), BATCH)
    for made in (plan, evaluation_plan(corpus.train, BATCH)):
        for number in range(0, len(made), max(1, len(made) // DRAWN)):
            corpus.train.batch(made[number])
    rollup = dict(
        re.findall(r"^(\w+): +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    )
    return {
        "sentences": len(corpus.train),
        "seconds": seconds,
        "private": int(rollup["Private_Dirty"]) / 1024,
        "peak": peak.stop(),
        "mapped": (int(rollup["Rss"]) - int(rollup["Anonymous"])) / 1024,
    }


class _Peak:
    """The most anonymous memory of this process, looked at ten times a second."""

    def __init__(self) -> None:
        self._most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self._look()

    def _look(self) -> None:
        found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
        self._most = max(self._most, int(found[1]) if found else 0)

    def stop(self) -> float:
        """Megabytes."""
        self._done.set()
        self._thread.join()
        self._look()
        return self._most / 1024


if __name__ == "__main__":
    main()
