"""SA-VAE: semi-amortised inference, whose refinement steps training differentiates through.

Source: Kim et al., ICML 2018, https://arxiv.org/abs/1802.02550, Algorithm 1; train_text.py and
    optim_n2n.py of the authors.
Deviations: second derivatives are exact, by automatic differentiation; the authors take forward
    differences of gradients in float32, clipped or not. Each sentence descends its own bound, so
    that its posterior does not depend on its batch: the authors descend the mean over the batch,
    whose rate 1 for 32 sentences is 1/32 here, and whose largest norm 5 of the whole batch's
    gradient is about 28 = 5 sqrt(32) for each sentence's. The refinement is without dropout, where
    theirs repeats one mask by reseeding torch: what is descended is the same function in training
    and evaluation. The weight of the divergence in it is that of the last joint step in training (0
    at the first one), and 1 in evaluation, where its noise is a function of the sentence and the
    step: there q(z | x) is one distribution, whenever and beside whatever it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from aecore import (
    Batch,
    Plugin,
    PluginConfig,
    PosteriorSample,
    Role,
    Sizes,
    Step,
    hookimpl,
    initialise,
    second_order,
)

#: Noises that the sentences share in evaluation.
NOISES = 1024
#: How far apart the noises of two steps on one sentence are; odd, so that none comes twice.
STRIDE = 389


class SaVae(Plugin):
    """lambda_0 = (mu, log sigma^2) = W features; v <- momentum v - grad f, lambda <- lambda + lr v.

    f = -log p(x | z) + beta KL(q(z | x) || p(z)), nats of one sentence, with z = mu + sigma eps and
    a new eps at every step. Then z is drawn anew from N(mu, diag sigma^2). Encoder and decoder are
    moved by the derivatives of lambda_K in both of them.
    """

    class Config(PluginConfig):
        """Settings of the refinement."""

        steps: int = Field(10, gt=0, description="K, refinement steps: 10 for PTB, 20 for Yahoo")
        lr: float = Field(
            1 / 32,
            gt=0,
            description="step size on a sentence's own gradient; 1/32 is 1 on the mean of 32",
        )
        momentum: float = Field(0.5, ge=0, lt=1, description="share of the last step that is kept")
        clip: float = Field(
            28.0, gt=0, description="largest norm of a sentence's gradient in (mu, log sigma^2)"
        )

    config: Config
    roles: ClassVar[dict[str, Role]] = {"head": "encoder"}
    noise: Tensor

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.head = nn.Linear(sizes.hidden, 2 * sizes.latent, bias=False)
        initialise(self)
        self.register_buffer("noise", torch.randn(NOISES, sizes.latent))

    @hookimpl
    def posterior_sample(
        self, features: Tensor, n_samples: int, batch: Batch | None
    ) -> PosteriorSample:
        """(B, K, D): z from the refined Gaussian, or the encoder's where no sentence is known."""
        mean, log_variance = self.head(features).chunk(2, -1)
        found = self.model.posterior_params(mean, log_variance, batch)
        parameters = torch.cat(found, -1)
        if batch is not None:
            parameters = self._refined(parameters, features, batch)
        normal = gaussian(parameters)
        return PosteriorSample(normal.rsample((n_samples,)).transpose(0, 1), normal)

    def _refined(self, parameters: Tensor, features: Tensor, batch: Batch) -> Tensor:
        """(B, 2D): lambda_K, with a graph where the caller keeps one."""
        keep = torch.is_grad_enabled()
        # the buffer is written to later
        beta = self.model.beta.clone() if self.training else self.model.beta.new_ones(())

        def energy(point: Tensor, number: int) -> Tensor:
            normal = gaussian(point)
            noise = self._noise(batch, number).unsqueeze(1)
            z = normal.mean.unsqueeze(1) + normal.stddev.unsqueeze(1) * noise
            step = Step(self.model, batch, features=features, sample=PosteriorSample(z, normal))
            return step.rec.mean(1) + beta * step.kl.sum(1)

        c = self.config
        with torch.enable_grad(), second_order(), resting(self.model.decoder):
            found = descend(energy, parameters, c.steps, c.lr, c.momentum, c.clip, keep)
        return found if keep else found.detach()

    def _noise(self, batch: Batch, number: int) -> Tensor:
        """(B, D): fresh in training; in evaluation keyed by a sentence's word ids and the step."""
        if self.training:
            return torch.randn(
                len(batch), self.sizes.latent, device=self.noise.device, dtype=self.noise.dtype
            )
        return self.noise[(batch.tokens.sum(1) + STRIDE * number) % NOISES]


def gaussian(parameters: Tensor) -> Independent[Normal]:
    """N(mu, diag sigma^2) for (mu, log sigma^2), (B, 2D)."""
    mean, log_variance = parameters.chunk(2, -1)
    return Independent(
        Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False
    )


def descend(
    energy: Callable[[Tensor, int], Tensor],
    point: Tensor,
    steps: int,
    lr: float,
    momentum: float,
    clip: float = math.inf,
    keep: bool = True,
) -> Tensor:
    """The point (B, P) after ``steps`` steps of gradient descent with momentum, row by row.

    Args:
        energy: (B, P) and the number of the step -> (B,), where no row depends on another.
        clip: the largest norm of a row's gradient.
        keep: whether the result has a graph, through every step, to ``point`` and to whatever
            ``energy`` depends on.
    """
    point = point if point.requires_grad and keep else point.detach().requires_grad_()
    velocity = torch.zeros_like(point)
    for number in range(steps):
        (gradient,) = torch.autograd.grad(energy(point, number).sum(), point, create_graph=keep)
        velocity = momentum * velocity - clipped(gradient, clip)
        point = point + lr * velocity
        point = point if keep else point.detach().requires_grad_()
    return point


def clipped(gradient: Tensor, largest: float) -> Tensor:
    """The rows of (B, P), those longer than ``largest`` shortened to it."""
    if math.isinf(largest):
        return gradient
    # never 0, where a root has no derivative
    norm = gradient.square().sum(1, keepdim=True).clamp(min=largest**2).sqrt()
    return gradient * (largest / norm)


@contextmanager
def resting(module: nn.Module) -> Iterator[None]:
    """The module without dropout inside the block."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
