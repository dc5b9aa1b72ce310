"""Recipes: how the autoencoder is initialised and trained, as defaults of two sections.

``published`` is what He et al. (ICLR 2019) and Li et al. (EMNLP 2019) ran. ``fast`` is what was
found to reach the same likelihood in a fraction of the time; results/recipe has the trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Recipe = Literal["fast", "published"]
Table = dict[str, Any]

#: The rate of each optimiser where none is given.
LEARNING_RATES = {"muon": 6e-3, "adamw": 4e-3, "sgd": 1.0}

TRAIN: dict[str, Table] = {
    "fast": {
        "epochs": 5,
        "optimiser": "muon",
        "beta1": 0.8,
        "beta2": 0.999,
        "weight_decay": 0.05,
        "warmup_steps": 200,
        "schedule": "linear",
        "hold": 0.5,
    },
    "published": {
        "epochs": 100,
        "optimiser": "sgd",
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.0,
        "warmup_steps": 0,
        "schedule": "plateau",
        "hold": 0.0,
    },
}
MODEL: dict[str, Table] = {
    "fast": {"initialisation": "orthogonal"},
    "published": {"initialisation": "published", "dropout_in": 0.5, "dropout_out": 0.5},
}
#: The built-in corpus never repeats a sentence and is soon learnt: no dropout, more epochs, and
#: products as they are on every machine.
TOY_TRAIN: Table = {"epochs": 16, "precision": "fp32"}
TOY_MODEL: Table = {"dropout_in": 0.0, "dropout_out": 0.0}
#: Epochs up to which each rate of dropout is the best of those tried on the Penn Treebank; beyond,
#: the last.
DROPOUT = ((4, 0.1), (8, 0.2), (None, 0.3))


def train_defaults(train: Mapping[str, Any], toy: bool) -> Table:
    """What ``[train]`` holds where it says nothing, given what it says."""
    recipe = train.get("recipe", "fast")
    base = dict(TRAIN.get(recipe, {})) if isinstance(recipe, str) else {}
    if toy and recipe == "fast":
        base |= TOY_TRAIN
    optimiser, schedule = (train.get(key, base.get(key)) for key in ("optimiser", "schedule"))
    if isinstance(optimiser, str) and optimiser in LEARNING_RATES:
        base["lr"] = LEARNING_RATES[optimiser]
    base["select"] = "last" if schedule in ("linear", "cosine") else "best"
    return base


def model_defaults(train: Mapping[str, Any], toy: bool) -> Table:
    """What ``[model]`` says by default, given ``[train]``; sizes are not a recipe's."""
    recipe, epochs = train.get("recipe", "fast"), train.get("epochs")
    base = dict(MODEL.get(recipe, {})) if isinstance(recipe, str) else {}
    if recipe != "fast":
        return base
    if toy:
        return base | TOY_MODEL
    long = epochs if isinstance(epochs, int) else 1
    rate = next(rate for most, rate in DROPOUT if most is None or long <= most)
    return base | {"dropout_in": rate, "dropout_out": rate}
