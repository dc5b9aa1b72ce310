"""The hooks of aecore, API 1: where papers may change the autoencoder, as typed contracts.

Axes: B sentences, K samples of z per sentence, D latent dimensions, C condition size, H encoder
    features, T target tokens,
G additive groups of a divergence. Energies are nats per sentence.

Three kinds. An *owner* hook has one implementation, chosen at composition: the named plugin that
implements it, else the default in ``aecore.vae``. A *chain* hook is a function value -> value,
applied in the order of ``--plugin``. An *all* hook is called one plugin at a time, in that order.
``None`` from an owner or a chain is an error. An implementation takes only the arguments that it
needs, by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from aecore.batch import Batch
    from aecore.posterior import PosteriorSample
    from aecore.step import DetachedStep, Step
    from aecore.training.session import Session
    from aecore.training.stages import Stage
    from aecore.transfer import TransferRequest

API = 1
PROJECT = "aecore"
Kind = Literal["owner", "chain", "all"]

hookimpl = pluggy.HookimplMarker(PROJECT)
hookspec = pluggy.HookspecMarker(PROJECT)

_F = TypeVar("_F", bound=Callable[..., object])


@dataclass(frozen=True)
class Hook:
    """One row of the contract: name, how implementations combine, arguments, docstring."""

    name: str
    kind: Kind
    arguments: tuple[str, ...]
    contract: str

    @property
    def signature(self) -> str:
        """``name(argument, ...)``, as docs and errors print it."""
        return f"{self.name}({', '.join(self.arguments)})"


HOOKS: dict[str, Hook] = {}


def _declare(kind: Kind) -> Callable[[_F], _F]:
    def mark(function: _F) -> _F:
        name = function.__name__
        arguments = tuple(inspect.signature(function).parameters)
        HOOKS[name] = Hook(name, kind, arguments, inspect.getdoc(function) or "")
        return hookspec(firstresult=kind == "owner")(function)

    return mark


# Model hooks: they define p(x, z) and q(z | x), and live in training, evaluation and generation.


@_declare("owner")
def posterior_sample(features: Tensor, n_samples: int, batch: Batch | None) -> PosteriorSample:
    """Draw K samples of z for each of B sentences from q(z | x), reparameterised.

    When: once per training step, once per sentence in evaluation, and where a prior encodes
        pseudo-inputs.

    Args:
        features: (B, H), the encoder's last state.
        n_samples: K, the samples that are wanted; a point posterior returns K = 1 whatever is
            asked.
        batch: the sentences, or None where the features come from pseudo-inputs and are all there
            is.

    Returns:
        A `PosteriorSample` whose z is (B, K, D); with ``log_prob`` where it is known exactly from
        the noise, or with a ``distribution`` of batch shape (B,) and event shape (D,), or, for an
        implicit posterior, with neither.

    Do not: seed anything, read this step's beta (``model.beta`` is the last joint step's), couple
        the sentences of a batch.
    """


@_declare("chain")
def posterior_params(
    mean: Tensor, log_variance: Tensor, batch: Batch | None
) -> tuple[Tensor, Tensor]:
    """Change the parameters of a Gaussian posterior, diag N(mean, exp(log_variance)), before draws.

    When: wherever the posterior's owner has computed them, in training, evaluation and generation;
        only owners of a ``gaussian`` posterior ask.

    Args:
        mean: (N, D), from the owner or from the plugin before.
        log_variance: (N, D), likewise.
        batch: the N sentences, or None where the features come from pseudo-inputs.

    Returns:
        The same two, (N, D) each, attached to the graph.
    """


@_declare("owner")
def prior_logprob(z: Tensor) -> Tensor:
    """The log density of the prior, log p(z).

    When: wherever a divergence or an importance weight needs it. Owned together with
        ``prior_sample``.

    Args:
        z: (..., D), any leading axes.

    Returns:
        (...), nats, in the measure of the declared latent space, differentiable in z and in the
        prior's parameters.
    """


@_declare("owner")
def prior_sample(n: int) -> Tensor:
    """Draw n latents from the prior, reparameterised.

    When: for generation, and for critics and penalties that compare with the prior. Owned together
        with ``prior_logprob``.

    Args:
        n: the number of draws.

    Returns:
        (n, D).
    """


@_declare("owner")
def decoder_condition(z: Tensor) -> Tensor:
    """Map latents to the vector that the decoder reads at every step.

    When: before each decoder pass; once on zeros at composition, from which the core learns C.

    Args:
        z: (..., D), any leading axes.

    Returns:
        (..., C); C = 0 makes the decoder a language model.
    """


# Training hooks.


@_declare("all")
def pre_train_init(session: Session) -> list[Stage]:
    """Prepare training, and name the stages that the trainer runs before the first joint step.

    When: once, before step 0; again when a run is resumed inside a stage, whose saved weights then
        replace what this did.

    Args:
        session: the run's training data, counters and updates.

    Returns:
        A list of `Stage`, possibly empty. Train inside stages only: a loop in here could not be
            resumed.
    """


@_declare("all")
def before_step(session: Session, batch: Batch) -> Iterable[str]:
    """Update parameters before a joint step, and name the roles that it then leaves alone.

    When: at the start of every joint step, never inside stages.

    Args:
        session: draws further batches, computes their loss, updates chosen roles.
        batch: the batch of the joint step that follows.

    Returns:
        Parameter roles, e.g. ``["encoder"]``; empty for none.
    """


@_declare("chain")
def corrupt_input(batch: Batch) -> Batch:
    """Corrupt the sentences that the encoder reads; the decoder still predicts the clean ones.

    When: once per batch in joint steps and in stages; never in evaluation or generation.

    Args:
        batch: B sentences.

    Returns:
        A `Batch` of the same B sentences, in the same order; lengths may change.
    """


@_declare("chain")
def decoder_input(tokens: Tensor, batch: Batch) -> Tensor:
    """Change the words that the decoder reads; those that it predicts stay as they are.

    When: once per batch in joint steps and in stages; never in evaluation or generation.

    Args:
        tokens: (B, T) int64, ``<s>`` and the words of each sentence, padded on the right; from the
            batch or from the plugin before.
        batch: the B sentences.

    Returns:
        (B, T) int64, another tensor: what is not a word, ``<s>`` and pads, as it was.
    """


@_declare("all")
def critic_loss(step: DetachedStep) -> Tensor:
    """The loss of a plugin's own critic on one batch.

    When: ``critic.steps`` times before each joint step's update, on a view of the step cut from the
        graph.

    Args:
        step: batch, features, z, code, fresh prior samples; asking it for rec, kl or beta is an
            error. The batch may be one process's share: ``step.mean`` and ``step.gather`` have all.

    Returns:
        A scalar, minimised over the plugin's parameters of role ``critic`` alone.
    """


@_declare("owner")
def kl_term(step: Step) -> Tensor:
    """Price a batch of latents: the KL divergence of q from p, or a penalty in its place.

    When: once per training step and per evaluation batch, after sampling, before the objective. The
        objective charges
    ``beta`` times what ``kl_penalty`` makes of it; what is reported is this.

    Args:
        step: features (B, H), sample.z (B, K, D), log_prior (B, K); lazily computed, so ask only
            for what you need.

    Returns:
        (B, G), nats per sentence, attached to the graph: G additive groups, D for a factorised KL,
        1 otherwise; a batch-level penalty is expanded to (B, 1). What is charged at beta 1.

    Do not: mask or average over sentences, seed anything, call backward.
    """


@_declare("chain")
def kl_penalty(kl: Tensor, step: Step) -> Tensor:
    """Turn the raw divergence into what the objective charges, e.g. by free bits.

    When: once per joint step, and once per evaluation batch for the validation objective alone:
        what is reported as ``kl`` and
    in bounds is the raw divergence.

    Args:
        kl: (B, G), nats per sentence, from ``kl_term`` or from the plugin before.
        step: the joint step.

    Returns:
        (B, G'), nats per sentence.
    """


@_declare("owner")
def beta_schedule(index: int, epoch: float, total_steps: int, kl: Tensor) -> float | Tensor:
    """The weight of the charged divergence at this joint step.

    When: exactly once per joint step that charges the divergence; evaluation uses 1, stages none.

    Args:
        index: joint steps done before this one.
        epoch: real epochs done before this one, index / steps per epoch.
        total_steps: the joint steps that the run plans.
        kl: 0-d, detached: this step's raw divergence, mean over the sentences of the batch, nats
            per sentence.

    Returns:
        A float or a 0-d tensor. State belongs into buffers, so that it is saved and resumed.

    Do not: call ``.item()``, which would wait for the device at each step.
    """


@_declare("owner")
def objective(step: Step) -> Tensor:
    """Combine the terms of a step into what is minimised.

    When: once per joint step, and once per evaluation batch, there at the last joint step's beta:
        it selects the weights.

    Args:
        step: rec (B, K), kl_loss (B, G'), beta.

    Returns:
        (B,), nats per sentence. The core averages over sentences.
    """


@_declare("all")
def extra_loss(step: Step) -> Tensor:
    """A term that is added to the objective in training.

    When: once per joint step, after the objective.

    Args:
        step: the joint step, all of whose values are shared with the objective.

    Returns:
        (B,), nats per sentence.
    """


# Use: what is made of codes once a model has been trained.


@_declare("chain")
def latent_map(z: Tensor, request: TransferRequest) -> Tensor:
    """Map the codes of sentences to codes of what they are to become.

    When: once per transfer, after the encoder and before the decoder; never in training or
        evaluation.

    Args:
        z: (N, D), from the encoder or from the plugin before.
        request: codes of examples, before and after, and how strongly.

    Returns:
        (N, D), points of the latent space, another tensor.

    Do not: couple the sentences; what they share is in the request.
    """
