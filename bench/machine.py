"""What figures were measured on: machine, commit, and its rate of float32 products."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

import torch

from aecore.autoencoder import Sizes


def described() -> str:
    """One line: processor, cores, torch, threads, commit."""
    threads = torch.get_num_threads()
    return (
        f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}, {threads} threads, "
        f"float32, commit {commit()}"
    )


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def commit() -> str:
    """The commit that is checked out, with a + where files differ from it."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def matrix_rate(sizes: Sizes, tokens: int = 704, repeats: int = 12) -> float:
    """The rate of the fastest of the output layer's products and a square one."""
    h, v = sizes.hidden, sizes.vocabulary
    return max(
        _rate(*shape, repeats)
        for shape in ((tokens, h, v), (tokens, v, h), (v, tokens, h), (1024, 1024, 1024))
    )


def _rate(rows: int, inner: int, columns: int, repeats: int) -> float:
    left, right, out = (
        torch.randn(rows, inner),
        torch.randn(inner, columns),
        torch.empty(rows, columns),
    )
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - began)
    return 2 * rows * inner * columns / best


def operations(sizes: Sizes) -> float:
    """Multiplications and additions of a training step's products, per token."""
    e, h, d, v = sizes.embedding, sizes.hidden, sizes.latent, sizes.vocabulary
    encoder, decoder, output = 4 * h * (e + h), 4 * h * (e + d + h), h * v
    return 3.0 * 2 * (encoder + decoder + output)
