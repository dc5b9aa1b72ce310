"""The model of a composition: autoencoder, plugins and model hooks, every shape checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aecore import ranks
from aecore.autoencoder import Decoder, Encoder, Sizes
from aecore.batch import Batch
from aecore.composition import Composition, reaches
from aecore.errors import CompositionError, PluginError, authored
from aecore.geometry import Euclidean, Space
from aecore.hooks import Call, Hooks
from aecore.initialisation import PUBLISHED, Initialisation, initialising
from aecore.manifest import GIVEN_BY
from aecore.plugin import MAIN_ROLES, ROLES, Plugin, PluginConfig
from aecore.posterior import PosteriorSample
from aecore.streams import Streams
from aecore.transfer import TransferRequest
from aecore.vae import Vae

if TYPE_CHECKING:
    from aecore.step import Step


class Model(nn.Module):
    """p(x, z) and q(z | x) as the plugins of a composition define them.

    Attributes:
        composition: who owns which hook, and the capability levels.
        hooks: the implementations, for the core; plugins use the methods below.
        sizes: the sizes of the autoencoder.
        space: the latent space, with the curvature that a plugin's settings give it.
        samples: K, the posterior samples per sentence in training: the most that a plugin asks for.
        beta: 0-d buffer, the weight of the divergence at the last joint step.
        version: a number that changes when weights are updated or loaded; updates of critics do not
            count.
        initialisation: the law of fresh parameters.
        frozen: whether there is a trained autoencoder underneath of which nothing changes.
    """

    beta: Tensor

    def __init__(
        self,
        composition: Composition,
        plugins: Mapping[str, Plugin],
        sizes: Sizes,
        streams: Streams,
        dropout: tuple[float, float] = (0.5, 0.5),
        initialisation: Initialisation = PUBLISHED,
    ) -> None:
        super().__init__()
        self.composition = composition
        self.initialisation = initialisation
        self.sizes = sizes
        self._distribution_seen = False
        self._width: int | str = "C"  # of any size until the first call
        self.space = _space(composition, plugins)
        self.samples = max(plugin.samples for plugin in plugins.values())
        self.plugins = nn.ModuleDict()
        # `add_module` would refuse a plugin called half, values or train
        self.plugins._modules.update(plugins)
        self.hooks = Hooks(composition, plugins)
        self.register_buffer("beta", torch.zeros(()))
        self.version = 0
        self.register_load_state_dict_post_hook(lambda *_: self.weights_changed())  # type: ignore[no-untyped-call]
        self.frozen = composition.base == "frozen"
        for name, plugin in plugins.items():
            if name not in composition.under:  # there a critic has done its work
                _check_roles(name, plugin, name in composition.implementers("critic_loss"))
            plugin.attach(self)
        with streams("init", "encoder"), initialising(initialisation):
            self.encoder = Encoder(sizes)
        with torch.no_grad():
            self._width = width = self.condition(torch.zeros(1, 1, sizes.latent)).shape[-1]
        with streams("init", "decoder"), initialising(initialisation):
            self.decoder = Decoder(sizes, width, *dropout)
        if self.frozen:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(self._owns(name))

    def is_under(self, name: str) -> bool:
        """Whether a tensor of this name belongs to a trained autoencoder underneath."""
        room, _, rest = name.partition(".")
        under = self.composition.under
        return bool(under) and (room in _ROOMS or rest.partition(".")[0] in under)

    def train(self, mode: bool = True) -> Model:
        """As for every module; what is frozen stays as it is evaluated, without dropout."""
        super().train(mode)
        if self.frozen:
            for module in (self.encoder, self.decoder, *map(self.plugin, self.composition.under)):
                module.eval()
        return self

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that training may change: all that is not frozen underneath, by name."""
        return {name: p for name, p in self.named_parameters() if self._owns(name)}

    def own_state(self) -> dict[str, Tensor]:
        """The tensors that a run keeps and resumes: all that is not frozen underneath."""
        return {name: tensor for name, tensor in self.state_dict().items() if self._owns(name)}

    def _owns(self, name: str) -> bool:
        return not (self.frozen and self.is_under(name))

    def load_own(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `own_state` gave."""
        self.load_state_dict({**self.state_dict(), **tensors})

    def plugin(self, name: str) -> Plugin:
        """The plugin called ``name``."""
        found = self.plugins[name]
        assert isinstance(found, Plugin)
        return found

    @property
    def device(self) -> torch.device:
        """Where the model's tensors are."""
        return self.beta.device

    @property
    def reads_latent(self) -> bool:
        """Whether the decoder reads z; else it is a language model, its likelihood exact."""
        return self.decoder.bridge.in_features > 0

    @property
    def level(self) -> Mapping[str, str | frozenset[str]]:
        """The capability levels of the composition, e.g. ``level["posterior"]``."""
        return self.composition.levels

    def weights_changed(self) -> None:
        """Begin a new version: what plugins keep with ``cached`` is made again."""
        self.version += 1

    def params(self, *roles: str) -> list[nn.Parameter]:
        """The parameters of these roles, of the autoencoder and of all plugins."""
        return [parameter for _, parameter in self.named_params(*roles)]

    def named_params(self, *roles: str) -> Iterator[tuple[str, nn.Parameter]]:
        """(name in the state dict, parameter) for these roles."""
        for role, module in (("encoder", self.encoder), ("decoder", self.decoder)):
            if role in roles:
                yield from module.named_parameters(prefix=role)
        for name in self.plugins:
            for key, parameter in self.plugin(name).parameters_of(*roles):
                yield f"plugins.{name}.{key}", parameter

    def features(self, batch: Batch) -> Tensor:
        """(B, H): the encoder's features of B sentences."""
        features: Tensor = self.encoder(batch)
        return features

    def features_of_embedded(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """(N, H): the features of sequences given as embeddings (N, L, E), ``lengths`` (N,)."""
        return self.encoder.from_embedded(embedded, lengths)

    def posterior_sample(
        self, features: Tensor, n_samples: int = 1, batch: Batch | None = None
    ) -> PosteriorSample:
        """K draws of z for each of B sentences; see the hook of the same name."""
        call = self.hooks.owner("posterior_sample")
        sample = call(features=features, n_samples=n_samples, batch=batch)
        if not isinstance(sample, PosteriorSample):
            raise call.error(
                f"returned {type(sample).__name__} from posterior_sample; a PosteriorSample was due"
            )
        samples = 1 if self.level["posterior"] == "point" else n_samples
        call.tensor(sample.z, (len(features), samples, self.sizes.latent), "z")
        if sample.given_log_prob is not None:
            call.tensor(sample.given_log_prob, (len(features), samples), "log_prob")
        if not self._distribution_seen:  # once: its density costs more than it would find out later
            self._distribution_seen = True
            # On a copy and outside the graph: a density computed earlier than in later steps would
            # reorder the sums of the backward pass, and the first step after a resume would differ
            # in the last digit from the uninterrupted one.
            with torch.no_grad():
                known = PosteriorSample(
                    sample.z, sample.distribution, sample.given_log_prob, sample.centre
                )
                self._check_distribution(call, known)
        return sample

    def _check_distribution(self, call: Call, sample: PosteriorSample) -> None:
        try:
            log_prob, mean = sample.log_prob, sample.mean
        except Exception as error:
            raise call.error(
                f"returned a distribution that raised {type(error).__name__}: {error}"
            ) from error
        if log_prob is not None:
            call.tensor(log_prob, tuple(sample.z.shape[:2]), "log_prob")
        call.tensor(mean, (len(sample.z), self.sizes.latent), "a mean")
        level = str(self.level["posterior"])
        if level == "gaussian" and not hasattr(sample.distribution, "stddev"):
            raise call.error(
                "provides posterior = 'gaussian', but returned no distribution with mean and stddev"
            )
        if log_prob is None and reaches("posterior", level, "own_density"):
            raise call.error(
                f"provides posterior = '{level}', but returned neither log_prob nor a distribution"
            )

    def posterior_params(
        self, mean: Tensor, log_variance: Tensor, batch: Batch | None = None
    ) -> tuple[Tensor, Tensor]:
        """(N, D) each: a Gaussian posterior's parameters after every plugin's hook."""
        for call in self.hooks.each("posterior_params"):
            found = call(mean=mean, log_variance=log_variance, batch=batch)
            if not isinstance(found, tuple) or len(found) != 2:
                raise call.error("did not return (mean, log_variance) from posterior_params")
            due = tuple(mean.shape)
            mean, log_variance = (
                call.tensor(value, due, part)
                for value, part in zip(found, ("a mean", "a log_variance"), strict=True)
            )
        return mean, log_variance

    def prior_logprob(self, z: Tensor) -> Tensor:
        """(...): log p(z) in nats, for z of shape (..., D)."""
        call = self.hooks.owner("prior_logprob")
        return call.tensor(call(z=z), tuple(z.shape[:-1]))

    def prior_sample(self, n: int) -> Tensor:
        """(n, D): draws from the prior."""
        call = self.hooks.owner("prior_sample")
        return call.tensor(call(n=n), (n, self.sizes.latent))

    def condition(self, z: Tensor) -> Tensor:
        """(..., C): what the decoder reads at every step, for z of shape (..., D)."""
        call = self.hooks.owner("decoder_condition")
        return call.tensor(call(z=z), (*z.shape[:-1], self._width))

    def nll(self, batch: Batch, z: Tensor) -> Tensor:
        """(B, K): -log p(x | z) in nats per sentence, for z (B, K, D)."""
        return self.decoder.nll(batch, self.condition(z))

    def code(self, batch: Batch) -> Tensor:
        """(B, D): the point that stands for each sentence, the posterior's centre or mean."""
        return self.posterior_sample(self.features(batch), 1, batch).mean

    def reset_decoder(self) -> None:
        """Draw the parameters of role decoder again, as its constructors did; all else stays.

        In place, so that optimisers keep their parameters but not their meaning: call it between
        phases, in ``pre_train_init`` or ``Stage.done``, where the random stream is the run's.
        """
        old = self.decoder
        with initialising(self.initialisation):
            _copy(
                Decoder(
                    self.sizes, int(self._width), old.dropout_in, old.dropout_out
                ).named_parameters(),
                old,
            )
            for name in self.plugins:
                plugin = self.plugin(name)
                if any(True for _ in plugin.parameters_of("decoder")):
                    _copy(
                        type(plugin)(plugin.config, plugin.sizes).parameters_of("decoder"), plugin
                    )
        self.weights_changed()

    def take_products_in(self, operands: torch.dtype) -> None:
        """Let training multiply in float32 or bfloat16, in LSTMs and the output layer alone."""
        self.encoder.operands = self.decoder.operands = operands

    def kl_term(self, step: Step) -> Tensor:
        """(B, G): the raw divergence of a step, nats per sentence."""
        call = self.hooks.owner("kl_term")
        return call.tensor(call(step=step), (len(step.batch), "G"))

    def kl_penalty(self, kl: Tensor, step: Step) -> Tensor:
        """(B, G'): the divergence after every plugin's ``kl_penalty``, in their order."""
        for call in self.hooks.each("kl_penalty"):
            kl = call.tensor(call(kl=kl, step=step), (len(step.batch), "G"))
        return kl

    def corrupt_input(self, batch: Batch) -> Batch:
        """The batch that the encoder reads in training."""
        for call in self.hooks.each("corrupt_input"):
            corrupted = call(batch=batch)
            if not isinstance(corrupted, Batch) or len(corrupted) != len(batch):
                raise call.error(
                    f"did not return a Batch of {len(batch)} sentences from corrupt_input"
                )
            batch = corrupted
        return batch

    def decoder_input(self, batch: Batch) -> Tensor:
        """(B, T): the words that the decoder reads in training."""
        tokens = batch.inputs
        for call in self.hooks.each("decoder_input"):
            found = call(tokens=tokens, batch=batch)
            if not isinstance(found, Tensor) or found.shape != tokens.shape:
                due = tuple(tokens.shape)
                raise call.error(f"did not return tokens {due} from decoder_input")
            if found.dtype != tokens.dtype:
                raise call.error(f"returned {found.dtype} from decoder_input; int64 was due")
            tokens = found
        return tokens

    def latent_map(self, z: Tensor, request: TransferRequest) -> Tensor:
        """(N, D): codes after every plugin's ``latent_map``, in their order."""
        for call in self.hooks.each("latent_map"):
            z = call.tensor(call(z=z, request=request), (len(z), self.sizes.latent))
        return z

    def objective(self, step: Step) -> Tensor:
        """(B,): what is minimised, nats per sentence."""
        call = self.hooks.owner("objective")
        return call.tensor(call(step=step), (len(step.batch),))


#: The rooms of the autoencoder itself in the state dict.
_ROOMS = ("encoder", "decoder")


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Dropout off and no gradients inside the block; the mode found is restored.

    Every rank does the whole of what is in it.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), ranks.alone():
            yield
    finally:
        model.train(training)


@torch.no_grad()
def _copy(fresh: Iterable[tuple[str, nn.Parameter]], into: nn.Module) -> None:
    """Overwrite the parameters of these names."""
    for name, parameter in fresh:
        into.get_parameter(name).copy_(parameter)


def _space(composition: Composition, plugins: Mapping[str, Plugin]) -> Space:
    """The latent space of whoever gives ``latent``; two must agree in settings too."""
    spaces: dict[str, Space] = {}
    for name in {composition.owners[hook]: None for hook in GIVEN_BY["geometry"]}:
        word = next(
            part for part in composition.parts if part.name == name
        ).manifest.provides.geometry
        space = plugins[name].space
        if word is not None and space.name != word:
            raise PluginError(
                f"'{name}' provides geometry = '{word}', but its `space` is {space}",
                f"due: self.space = ..., one of aecore.geometry, called '{word}'",
                plugin=name,
            )
        if word is not None:
            spaces[name] = space
    for name, space in spaces.items():
        first, its = next(iter(spaces.items()))
        if space != its:
            raise CompositionError(
                f"'{first}' and '{name}' do not share a latent space",
                f"{first}: {its}",
                f"{name}: {space}",
            )
    return next(iter(spaces.values()), Euclidean())


def _check_roles(name: str, plugin: Plugin, has_loss: bool) -> None:
    """Every attribute that holds parameters has a role, else no optimiser would ever see it."""
    for attribute in {key.partition(".")[0]: None for key, _ in plugin.named_parameters()}:
        role = plugin.roles.get(attribute)
        if role not in ROLES:
            came = "no role" if role is None else f"the unknown role '{role}'"
            raise PluginError(
                f"the parameters '{attribute}' of '{name}' have {came}",
                f'due: roles = {{"{attribute}": ...}} with one of {", ".join(ROLES)}',
                plugin=name,
            )
    has_parameters = any(True for _ in plugin.parameters_of("critic"))
    if plugin.critic is None and has_parameters:
        raise PluginError(
            f"'{name}' has parameters of role critic, but `critic` is None", plugin=name
        )
    if (plugin.critic is not None and has_parameters) != has_loss:
        lacks = (
            "no parameters of role critic"
            if has_loss
            else "no hook critic_loss that would train them"
        )
        raise PluginError(
            f"'{name}' has {'the hook critic_loss' if has_loss else 'a critic'}, but {lacks}",
            plugin=name,
        )


def build_model(
    composition: Composition,
    classes: Mapping[str, type[Plugin]],
    configs: Mapping[str, PluginConfig],
    sizes: Sizes,
    streams: Streams,
    dropout: tuple[float, float] = (0.5, 0.5),
    initialisation: Initialisation = PUBLISHED,
) -> Model:
    """Construct autoencoder and plugins, each in a stream of its own: equal seeds share draws."""
    plugins: dict[str, Plugin] = {}
    for part in composition.parts:
        with streams("init", part.name), initialising(initialisation):
            if part.name in classes:
                with authored(part.name, part.distribution, "its constructor"):
                    plugins[part.name] = classes[part.name](configs[part.name], sizes)
                if not hasattr(plugins[part.name], "config"):
                    raise PluginError(
                        f"the constructor of '{part.name}' ({part.distribution}) leaves out "
                        "super().__init__(config, sizes)",
                        plugin=part.name,
                    )
            else:
                plugins[part.name] = Vae(PluginConfig(), sizes, composition.owned_by(part.name))
    return Model(composition, plugins, sizes, streams, dropout, initialisation)


__all__ = ["MAIN_ROLES", "Model", "build_model", "evaluating"]
