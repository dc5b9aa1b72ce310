"""The method: posterior, prior, what the decoder reads, and the dual KL with its critic."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aecore import (
    CriticConfig,
    DetachedStep,
    Manifest,
    Plugin,
    PluginConfig,
    PluginError,
    PosteriorSample,
    Role,
    Sizes,
    Step,
    hookimpl,
)
from aecore.geometry import Ball, Gyroplanes, WrappedNormal
from aecore.matching import dual, exp_counted, mlp
from aecore_apovae.network import Network


class ApoVae(Plugin):
    """KL(q(z | x) || p) = max_nu E_q nu(x, z) - E_p exp nu(x, z) + 1, on the Poincaré ball.

    p is a wrapped normal at 0, or 1/K sum_k q(z | s_k) of learned pseudo-inputs, which can only be
    drawn. Logged: ``exp_large``, the share of the prior's draws at which exp nu cannot be trusted
    (nothing is clamped), and ``edge``, the draws of q and p that reach the edge of float32.
    """

    class Config(CriticConfig):
        """Settings of the APo-VAE."""

        curvature: float = Field(
            0.7, gt=0, le=100, description="c: the ball has curvature -c and radius 1 / sqrt(c)"
        )
        prior: Literal["normal", "vamp"] = Field(
            "normal", description="a wrapped normal, or the posteriors of learned pseudo-inputs"
        )
        components: int = Field(50, ge=1, description="K, pseudo-inputs (vamp)")
        length: int = Field(20, ge=1, description="of each, in embeddings of words (vamp)")
        pseudo_inputs: Literal["descent", "ascent"] = Field(
            "descent", description="their direction on the dual; the paper prints ascent (vamp)"
        )
        lr: float = Field(1e-5, gt=0, description="the critic's learning rate")
        steps: int = Field(5, ge=1, description="critic updates before each joint step")
        width: int = Field(512, ge=1, description="hidden units of the critic's layers")
        layers: int = Field(3, ge=1, description="hidden layers of the critic")

    config: Config
    roles: ClassVar[dict[str, Role]] = {
        "network": "encoder",
        "planes": "decoder",
        "nu": "critic",
        "inputs": "prior",
    }

    @classmethod
    def manifest(cls, declared: Manifest, config: PluginConfig) -> Manifest:
        """Of a mixture of implicit posteriors no density is known."""
        assert isinstance(config, cls.Config)
        if config.prior == "normal":
            return declared
        provides = declared.provides.model_copy(update={"prior": "samples"})
        return declared.model_copy(update={"provides": provides})

    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        c = self.config
        self.critic = c
        self.ball = Ball(c.curvature)
        self.space = self.ball
        self.network = Network(self.ball, sizes)
        self.planes = Gyroplanes(self.ball, sizes.latent, sizes.latent)
        self.nu = mlp(sizes.hidden + sizes.latent, c.width, c.layers)
        if c.prior == "vamp":
            start = torch.empty(c.components, c.length, sizes.embedding).uniform_(-0.1, 0.1)
            self.inputs = nn.Parameter(start)

    @hookimpl
    def posterior_sample(self, features: Tensor, n_samples: int) -> PosteriorSample:
        """z of equation 7 with v and mu of the networks, (B, K, D)."""
        return self.network.draw(features, n_samples)

    @hookimpl
    def prior_logprob(self, z: Tensor) -> Tensor:
        """The wrapped normal's density at z, (...); of pseudo-inputs there is none."""
        if self.config.prior == "vamp":
            raise PluginError(
                "a prior of pseudo-inputs has no density", plugin="apovae", hook="prior_logprob"
            )
        return self._normal(z).log_prob(z.unsqueeze(-2)).squeeze(-1)

    @hookimpl
    def prior_sample(self, n: int) -> Tensor:
        """(n, D): of the wrapped normal, or of the posterior of a pseudo-input at random."""
        if self.config.prior == "normal":
            return self._normal(self.model.beta).rsample((n,))[0].squeeze(-2)
        features = self.cached(self._pseudo_features)
        chosen = torch.randint(len(features), (n,), device=features.device)
        return self.network.draw(features[chosen], 1).z.squeeze(1)

    def _normal(self, like: Tensor) -> WrappedNormal:
        zero = like.new_zeros(1, self.sizes.latent)
        return WrappedNormal(self.ball, zero, zero + 1)

    def _pseudo_features(self) -> Tensor:
        """(K, H): what the encoder makes of the pseudo-inputs."""
        inputs: Tensor = self.inputs
        if self.config.pseudo_inputs == "ascent":  # the same value, the gradient turned round
            inputs = 2 * inputs.detach() - inputs
        lengths = torch.full((len(inputs),), self.config.length, device=inputs.device)
        return self.model.features_of_embedded(inputs, lengths)

    @hookimpl
    def decoder_condition(self, z: Tensor) -> Tensor:
        """Signed distances from D gyroplanes, equation 8, (..., D)."""
        found: Tensor = self.planes(z)
        return found

    @hookimpl
    def critic_loss(self, step: DetachedStep) -> Tensor:
        """E_p exp nu - E_q nu, mean over the batch, 0-d; the draws of q are the step's own."""
        return 1 - step.mean(self._dual(step.features, step.z, step.prior_sample()))

    @hookimpl
    def kl_term(self, step: Step) -> Tensor:
        """nu(x, z_q) - exp nu(x, z_p) + 1, (B, 1), mean over the draws of q."""
        drawn = step.prior_sample()
        self.log(edge=step.mean(0.5 * (self._edge(step.sample.z).mean(1) + self._edge(drawn))))
        return self._dual(step.features.detach(), step.sample.z, drawn).unsqueeze(1)

    def _edge(self, z: Tensor) -> Tensor:
        """(...): 1 where z is where float32 ends."""
        length: Tensor = torch.linalg.vector_norm(z.detach(), dim=-1)
        return (length >= self.ball.limit * 0.999999).float()

    def _dual(self, features: Tensor, z: Tensor, drawn: Tensor) -> Tensor:
        """(B,): the dual of each sentence, z (B, K, D) against one draw of the prior, (B, D)."""
        beside = features.unsqueeze(1).expand(-1, z.shape[1], -1)
        of_codes = self._score(beside, z).mean(1)
        of_prior = self._score(features, drawn)
        self.log(exp_large=exp_counted(of_prior))
        return dual(of_codes, of_prior)

    def _score(self, features: Tensor, z: Tensor) -> Tensor:
        """nu of features and of z in normal coordinates at 0, (...)."""
        found: Tensor = self.nu(torch.cat([features, 2 * self.ball.coordinates(z)], -1))
        return found.squeeze(-1)
