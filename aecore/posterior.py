"""What ``posterior_sample`` returns: latents, and what is known of their distribution."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from aecore.lazy import lazy


class Distribution(Protocol):
    """What is used of `torch.distributions.Distribution`: batch (B,), event (D,)."""

    @property
    def mean(self) -> Tensor:
        """(B, D)."""
        ...

    def log_prob(self, value: Tensor) -> Tensor:
        """(K, B) for values of shape (K, B, D)."""
        ...


class PosteriorSample:
    """K draws of z for each of B sentences.

    Args:
        z: (B, K, D), reparameterised.
        distribution: q(z | x) with batch shape (B,) and event shape (D,), where there is one.
        log_prob: (B, K), log q(z | x) in nats, where the plugin knows it exactly from the noise:
            inverting a map instead can lose every digit. Without it, the distribution's density is
            used.
        centre: (B, D), the point that stands for the sentence, where the distribution's mean is not
            it.
    """

    def __init__(
        self,
        z: Tensor,
        distribution: Distribution | None = None,
        log_prob: Tensor | None = None,
        centre: Tensor | None = None,
    ) -> None:
        self.z = z
        self.distribution = distribution
        self.centre = centre
        self.given_log_prob = log_prob

    @lazy
    def log_prob(self) -> Tensor | None:
        """(B, K): log q(z | x) in nats, or None where the posterior has no density."""
        if self.given_log_prob is not None or self.distribution is None:
            return self.given_log_prob
        return self.distribution.log_prob(self.z.transpose(0, 1)).transpose(0, 1)

    @property
    def mean(self) -> Tensor:
        """(B, D): the centre, else the distribution's mean, else the mean of the samples."""
        if self.centre is not None:
            return self.centre
        return self.z.mean(1) if self.distribution is None else self.distribution.mean
