"""Forward pass of one batch, lazily: z, reconstruction, KL and beta, each computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from aecore import ranks
from aecore.batch import Batch
from aecore.errors import AecoreError
from aecore.lazy import lazy
from aecore.posterior import PosteriorSample

if TYPE_CHECKING:
    from aecore.model import Model

#: kl (0-d, detached) -> beta (0-d).
Schedule = Callable[[Tensor], Tensor]


class Step:
    """A batch of B sentences and what follows from it.

    Args:
        model: the composition.
        batch: B sentences.
        index: the number of the step in its phase.
        samples: K, the posterior draws per sentence.
        training: whether ``corrupt_input``, ``decoder_input`` and ``kl_penalty`` apply, as in joint
            steps and stages.
        schedule: gives beta from this step's divergence; without one, beta is 1.
        features, sample, kl, rec: values that are known already, where the evaluator drew them
            sentence by sentence.
    """

    def __init__(
        self,
        model: Model,
        batch: Batch,
        *,
        index: int = 0,
        samples: int = 1,
        training: bool = False,
        schedule: Schedule | None = None,
        features: Tensor | None = None,
        sample: PosteriorSample | None = None,
        kl: Tensor | None = None,
        rec: Tensor | None = None,
    ) -> None:
        self.model = model
        self.batch = batch
        self.index = index
        self.samples = samples
        self.training = training
        self._schedule = schedule
        known = {"features": features, "sample": sample, "kl": kl, "rec": rec}
        self.__dict__.update({name: value for name, value in known.items() if value is not None})

    @lazy
    def features(self) -> Tensor:
        """(B, H): the encoder's features, of the corrupted sentences in training."""
        return self.model.features(
            self.model.corrupt_input(self.batch) if self.training else self.batch
        )

    @lazy
    def sample(self) -> PosteriorSample:
        """K draws of z per sentence."""
        return self.model.posterior_sample(self.features, self.samples, self.batch)

    @lazy
    def code(self) -> Tensor:
        """(B, D): the centre of each sentence's posterior."""
        return self.sample.mean

    @lazy
    def target(self) -> Step:
        """What each sentence is to become, as a step of its own; of pairs alone."""
        if self.batch.target is None:
            raise AecoreError(
                "step.target was asked for, but the sentences are no pairs",
                'due: data = "pairs" in plugin.toml',
            )
        return Step(self.model, self.batch.target, index=self.index, samples=1)

    @lazy
    def condition(self) -> Tensor:
        """(B, K, C): what the decoder reads."""
        return self.model.condition(self.sample.z)

    @lazy
    def rec(self) -> Tensor:
        """(B, K): -log p(x | z), nats per sentence."""
        inputs = self.model.decoder_input(self.batch) if self.training else None
        return self.model.decoder.nll(self.batch, self.condition, inputs)

    @lazy
    def log_prior(self) -> Tensor:
        """(B, K): log p(z), nats."""
        return self.model.prior_logprob(self.sample.z)

    @lazy
    def kl(self) -> Tensor:
        """(B, G): the raw divergence, nats per sentence."""
        return self.model.kl_term(self)

    @lazy
    def kl_loss(self) -> Tensor:
        """(B, G'): what is charged, the divergence after ``kl_penalty`` in training."""
        return self.model.kl_penalty(self.kl, self) if self.training else self.kl

    @lazy
    def beta(self) -> Tensor:
        """0-d: the KL weight; asking for it is what calls ``beta_schedule``."""
        if self._schedule is None:
            return self.kl.new_ones(())
        return self._schedule(self.mean(self.kl.detach().sum(1)))

    def computed(self, name: str) -> bool:
        """Whether the quantity has been asked for."""
        return name in self.__dict__

    def mean(self, values: Tensor) -> Tensor:
        """(B, ...) -> (...): the mean over the batch's sentences, of all processes."""
        return ranks.mean(values, self.batch.global_size)

    def gather(self, values: Tensor) -> Tensor:
        """(B, ...) -> (sentences of the batch in all processes, ...), with an exact gradient."""
        return ranks.gather(values)

    def prior_sample(self, n: int | None = None) -> Tensor:
        """(n, D): fresh draws from the prior, B of them unless told otherwise."""
        return self.model.prior_sample(len(self.batch) if n is None else n)

    def charged(self, beta: Tensor) -> Step:
        """The same values as training charges them: with ``kl_penalty``, at this weight."""
        known = {name: getattr(self, name) for name in ("features", "sample", "kl", "rec")}
        return Step(
            self.model,
            self.batch,
            index=self.index,
            samples=self.samples,
            training=True,
            schedule=lambda _: beta.clone(),
            **known,
        )

    def detached(self) -> DetachedStep:
        """The view that critics get: cut from the graph, without what they must not ask for."""
        return DetachedStep(self)


class DetachedStep:
    """What a critic sees of a step, cut from the graph."""

    def __init__(self, step: Step) -> None:
        self.batch = step.batch
        self.index = step.index
        self.features = step.features.detach()
        self.z = step.sample.z.detach()
        self.code = step.code.detach()
        self.mean, self.gather = step.mean, step.gather
        self._step = step

    @lazy
    def target(self) -> DetachedStep:
        """The same of what each sentence is to become."""
        return self._step.target.detached()

    def prior_sample(self, n: int | None = None) -> Tensor:
        """(n, D): fresh draws from the prior, without graph."""
        with torch.no_grad():
            return self._step.prior_sample(n)

    def __getattr__(self, name: str) -> NoReturn:
        if name in {"rec", "kl", "kl_loss", "beta", "log_prior", "sample", "condition"}:
            raise AecoreError(
                f"critic_loss asked for step.{name}, which a critic does not see",
                "offered: batch, index, features, z, code, prior_sample(n), mean, gather",
            )
        raise AttributeError(name)
