"""What a finished run gives: its vocabulary, its selected weights, parameters of a role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aecore.data.vocabulary import Vocabulary
from aecore.errors import RunError
from aecore.model import Model
from aecore.runs.checkpoint import check_fit, load_tensors, sha256
from aecore.runs.folder import RunFolder


def read_vocabulary(folder: RunFolder, digest: str | None = None) -> Vocabulary:
    """tokenizer.json of a run; held to the SHA-256 that its weights know, where they know one."""
    try:
        text = folder.tokenizer.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"'{folder.tokenizer}' cannot be read", f"reason: {error}") from error
    if digest is not None and sha256(text) != digest:
        raise RunError(
            f"'{folder.tokenizer}' is not the vocabulary that the run was trained with",
            "its SHA-256 is another than the weights know: altered, or another run's",
        )
    return Vocabulary.from_json(text)


@dataclass(frozen=True)
class Weights:
    """model.safetensors: the selected weights, and what they know of their run.

    Attributes:
        corpus, tokenizer: fingerprint of the corpus and SHA-256 of tokenizer.json at training.
    """

    tensors: Mapping[str, Tensor]
    corpus: str | None = None
    tokenizer: str | None = None

    @classmethod
    def read(cls, folder: RunFolder) -> Weights:
        """Those of a run.

        Raises:
            RunError: when the file is damaged, or none of ours.
        """
        tensors, meta = load_tensors(folder.weights)
        return cls(tensors, meta.get("data"), meta.get("tokenizer"))

    def into(self, model: Model, folder: RunFolder) -> None:
        """Load them; they must be exactly the tensors of the composition.

        Raises:
            RunError: when they are not.
        """
        try:
            check_fit(self.tensors, model.own_state())
        except ValueError as error:
            raise RunError(
                f"the weights in '{folder.weights}' do not fit its config.toml",
                f"composition: {model.composition.label}",
                str(error),
                "likely: config.toml was edited, or a plugin's version has changed",
            ) from error
        model.load_own(self.tensors)


def load_roles(path: Path, model: Model, vocabulary: Vocabulary, *roles: str) -> None:
    """Copy every parameter of these roles, plugins' included, from the selected weights of a run.

    Raises:
        RunError: when there is no such run or it has no weights yet, its vocabulary is another, or
            a parameter is missing there or has another shape; nothing is copied then.
    """
    folder = RunFolder.open(path)
    plugins = ", ".join(folder.read_config().plugins) or "none"
    if not folder.weights.is_file():
        raise RunError(
            f"the run '{path}' has no weights yet", f"to go on with it: aecore resume {path}"
        )
    theirs = read_vocabulary(folder)
    if theirs.to_json() != vocabulary.to_json():
        sizes = f"words: {len(theirs):,} there, {len(vocabulary):,} here"
        raise RunError(
            f"the run '{path}' has another vocabulary", sizes, "due: a run on the same data"
        )
    tensors, _ = load_tensors(folder.weights)
    wanted = dict(model.named_params(*roles))
    if wrong := _misfits(wanted, tensors):
        shown = [*wrong[:3], *([f"and {len(wrong) - 3} more"] if len(wrong) > 3 else [])]
        composed = f"plugins: {plugins} there, {', '.join(model.composition.names)} here"
        raise RunError(
            f"the {' and '.join(roles)} of the run '{path}' does not fit", *shown, composed
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(tensors[name])
    model.weights_changed()


def _misfits(wanted: Mapping[str, Tensor], tensors: Mapping[str, Any]) -> list[str]:
    """What is missing or has another shape, a line each."""
    found = []
    for name, parameter in wanted.items():
        if name not in tensors:
            found.append(f"{name}: not there")
        elif tensors[name].shape != parameter.shape:
            found.append(
                f"{name}: {tuple(tensors[name].shape)} there, {tuple(parameter.shape)} here"
            )
    return found
