"""Latent spaces: Euclidean space, the sphere and the Poincaré ball, behind one interface."""

from aecore.geometry.ball import Ball
from aecore.geometry.euclidean import Euclidean
from aecore.geometry.gyroplanes import Gyroplanes
from aecore.geometry.space import Space
from aecore.geometry.sphere import Sphere
from aecore.geometry.wrapped import WrappedNormal, longest, shortened

__all__ = [
    "Ball",
    "Euclidean",
    "Gyroplanes",
    "Space",
    "Sphere",
    "WrappedNormal",
    "longest",
    "shortened",
]
