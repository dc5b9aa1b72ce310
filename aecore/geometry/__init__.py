"""Latent spaces: the straight one, the sphere and the Poincaré ball, with what the verbs, figures and plugins need of them."""

from aecore.geometry.ball import Ball
from aecore.geometry.euclidean import Euclidean
from aecore.geometry.space import Space
from aecore.geometry.sphere import Sphere
from aecore.geometry.wrapped import WrappedNormal

__all__ = ["Ball", "Euclidean", "Space", "Sphere", "WrappedNormal"]
