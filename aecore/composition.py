"""Composition: which plugin answers which hook, and whether methods fit, by manifests alone.

Nothing here imports torch or a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from aecore.errors import CompositionError
from aecore.hookspec import HOOKS
from aecore.manifest import GIVEN_BY, LEVELS, Base, Batching, Capabilities, Data, Manifest

DEFAULTS = "vae"
#: The hooks that say what a trained autoencoder is, and what its divergence is reported as.
MODEL_HOOKS = (
    *("posterior_sample", "posterior_params", "prior_logprob", "prior_sample"),
    *("decoder_condition", "kl_term"),
)
#: The hooks that change nothing where the objective charges no divergence.
OF_THE_KL = frozenset({"kl_term", "kl_penalty", "beta_schedule", "critic_loss"})
Level = str | frozenset[str]

#: What each level means, for the sentence that refuses a composition.
MEANING = {
    "posterior": "the posterior",
    "prior": "the prior",
    "kl": "the divergence",
    "kl_estimator": "the estimator of the divergence",
    "kl_gradient": "the gradient of the KL term",
    "objective_gradient": "the gradient of the objective",
    "geometry": "the latent space",
}


@dataclass(frozen=True)
class Part:
    """A plugin as composition sees it.

    Attributes:
        base: whether it belongs to the trained autoencoder underneath.
    """

    name: str
    manifest: Manifest
    distribution: str = ""
    base: bool = False

    def as_base(self) -> Part | None:
        """What is left of it in a trained autoencoder: its model hooks; None where it has none."""
        hooks = tuple(hook for hook in self.manifest.hooks if hook in MODEL_HOOKS)
        if not hooks:
            return None
        kept = {
            word: level
            for word, level in self.manifest.provides.stated().items()
            if any(hook in hooks for hook in GIVEN_BY[word])
        }
        changes = {
            "hooks": hooks,
            "provides": Capabilities.model_validate(kept),
            "requires": Capabilities(),
            "select_on": "objective",
        }
        return replace(self, manifest=self.manifest.model_copy(update=changes), base=True)

    def owns(self) -> list[str]:
        """The owner hooks that it implements."""
        return [hook for hook in self.manifest.hooks if HOOKS[hook].kind == "owner"]


@dataclass(frozen=True)
class Composition:
    """The parts in the order of ``--plugin``, defaults last; an owner per hook, and the levels."""

    parts: tuple[Part, ...]
    owners: dict[str, str]
    levels: dict[str, Level]

    @property
    def names(self) -> tuple[str, ...]:
        """The named plugins, without the defaults and what the autoencoder underneath has."""
        return tuple(p.name for p in self.parts if p.name != DEFAULTS and not p.base)

    @property
    def base(self) -> Base | None:
        """Whether there is a trained autoencoder underneath, and whether it is frozen."""
        return _base(self.parts)

    @property
    def under(self) -> frozenset[str]:
        """The plugins of the autoencoder underneath, the defaults among them."""
        if self.base is None:
            return frozenset()
        return frozenset({DEFAULTS, *(part.name for part in self.parts if part.base)})

    @property
    def data(self) -> Data | None:
        """What the corpus has to be, beyond text."""
        return next((p.manifest.data for p in self.parts if p.manifest.data), None)

    @property
    def rewrites(self) -> bool:
        """Whether it learns from pairs or labels how to rewrite sentences."""
        return self.data is not None and bool(self.implementers("latent_map"))

    @property
    def label(self) -> str:
        """``controlvae+flowprior``, or ``vae`` where no plugin is named."""
        return "+".join(self.names) or DEFAULTS

    @property
    def batching(self) -> Batching:
        """Length buckets, which waste fewest pads, unless a plugin needs mixed batches."""
        return (
            "mixed" if any(part.manifest.batching == "mixed" for part in self.parts) else "bucketed"
        )

    @property
    def select_on(self) -> str:
        """The validation figure of model selection: what the first plugin with a wish says."""
        return next(
            (p.manifest.select_on for p in self.parts if p.manifest.select_on != "objective"),
            "objective",
        )

    def implementers(self, hook: str) -> list[str]:
        """Whom a call of the hook reaches: the owner, or all that declare it, in order."""
        if HOOKS[hook].kind == "owner":
            return [self.owners[hook]]
        return [part.name for part in self.parts if hook in part.manifest.hooks]

    def owned_by(self, name: str) -> frozenset[str]:
        """The owner hooks that fell to the plugin ``name``."""
        return frozenset(hook for hook, owner in self.owners.items() if owner == name)


def _base(parts: Iterable[Part]) -> Base | None:
    return next((part.manifest.base for part in parts if part.manifest.base), None)


def compose(named: Sequence[Part], defaults: Part, base: Sequence[Part] = ()) -> Composition:
    """Resolve the hooks of the named plugins over the defaults.

    Args:
        base: the plugins of a trained autoencoder, of which `Part.as_base` is left.

    Raises:
        CompositionError: for a plugin that is named twice, two owners of one hook, or a requirement
            that is not met; with the names, the reason and the nearest composition that works.
    """
    under = [left for part in base if (left := part.as_base()) is not None]
    problem = _problem([*under, *named], defaults)
    if problem is not None:
        kind, *lines = problem
        raise CompositionError(*lines, *_nearest(named, defaults), kind=kind)
    return resolve([*under, *named], defaults)


def resolve(named: Sequence[Part], defaults: Part) -> Composition:
    """Who answers what, whether or not requirements are met: to see what refusing them spares."""
    owners = {hook: part.name for part in named for hook in part.owns()}
    for hook in defaults.owns():
        owners.setdefault(hook, defaults.name)
    rest = replace(defaults, manifest=_refine_defaults(defaults.manifest, named))
    parts = (*named, rest)
    levels = _levels(parts, owners)
    if _base(named) == "frozen":
        levels |= {"kl_gradient": frozenset(), "objective_gradient": frozenset()}
    return Composition(parts, owners, levels)


def _refine_defaults(manifest: Manifest, named: Iterable[Part]) -> Manifest:
    """What the defaults still give once the named plugins own some of their hooks."""
    taken = {hook for part in named for hook in part.owns()}
    named = list(named)
    given = {word for part in named for word in part.manifest.provides.stated()}
    provides = {
        word: level
        for word, level in manifest.provides.stated().items()
        if any(hook not in taken for hook in GIVEN_BY[word] if hook in manifest.hooks)
    }
    if "kl_term" not in taken and not _factorised(named):
        provides |= {"kl": "sentence", "kl_estimator": "monte-carlo"}
    if "geometry" in given:
        provides.pop("geometry", None)
    requires = Capabilities() if "kl_term" in taken else manifest.requires
    return manifest.model_copy(
        update={"provides": Capabilities.model_validate(provides), "requires": requires}
    )


def _levels(parts: Iterable[Part], owners: dict[str, str]) -> dict[str, Level]:
    """The level of every word, from the owners of the hooks that give it."""
    levels: dict[str, Level] = {}
    for part in parts:
        for word, level in part.manifest.provides.stated().items():
            if any(owners.get(hook) == part.name for hook in GIVEN_BY[word]):
                both = word == "kl_gradient" and word in levels
                levels[word] = _passed(levels[word], level) if both else levels.get(word, level)
    return levels


def _passed(one: Level, other: Level) -> Level:
    """Where the KL term has a gradient: what it gives, and what the objective lets through."""
    return frozenset(one) & frozenset(other)


def _problem(named: Sequence[Part], defaults: Part) -> tuple[str, ...] | None:
    """Why the plugins do not compose: kind, sentence, then the evidence; None when they do."""
    checks: dict[str, Callable[[], tuple[str, ...] | None]] = {
        "owners": lambda: _two_owners(named),
        "corpus": lambda: _two_kinds(named),
        "space": lambda: _two_spaces(named, defaults),
        "needs": lambda: _unmet(resolve(named, defaults)) or _idle(resolve(named, defaults)),
        "base": lambda: _too_late(named),
    }
    for kind, check in checks.items():
        if (lines := check()) is not None:
            return kind, *lines
    return None


def _two_owners(named: Sequence[Part]) -> tuple[str, ...] | None:
    seen: dict[str, str] = {}
    for position, part in enumerate(named):
        if part.name in {other.name for other in named[:position]}:
            return (f"'{part.name}' is named twice",)
        for hook in part.owns():
            if hook in seen:
                return (
                    f"'{seen[hook]}' and '{part.name}' both own {hook}",
                    f"{hook} has one owner: two would each replace what the other does",
                )
            seen[hook] = part.name
    return None


def _two_kinds(named: Sequence[Part]) -> tuple[str, ...] | None:
    """Two that want other corpora, or the same autoencoder frozen and trained."""
    for word, due in (("data", "the corpus to be"), ("base", "the autoencoder underneath to be")):
        wishes = [(part.name, getattr(part.manifest, word)) for part in named]
        if apart := _apart(wishes):
            (one, its), (other, theirs) = apart
            return (
                f"'{one}' does not compose with '{other}'",
                f"{one} needs: {due} {its}",
                f"{other} needs: {due} {theirs}",
            )
    return None


def _two_spaces(named: Sequence[Part], defaults: Part) -> tuple[str, ...] | None:
    taken = {hook for part in named for hook in part.owns()}
    needed = any(hook not in taken for hook in GIVEN_BY["geometry"])
    parts = [*named, defaults] if needed else named
    apart = _apart([(part.name, part.manifest.provides.geometry) for part in parts])
    if apart is None:
        return None
    (one, its), (other, theirs) = apart
    return (
        f"'{one}' and '{other}' do not share a latent space",
        f"{one}: {its}",
        f"{other}: {theirs}",
    )


def _apart(said: Iterable[tuple[str, str | None]]) -> tuple[tuple[str, str], ...] | None:
    """The first two, name and word, that do not say the same; who says nothing has no say."""
    heard = [(name, word) for name, word in said if word]
    return next((pair for pair in combinations(heard, 2) if pair[0][1] != pair[1][1]), None)


def _unmet(composition: Composition) -> tuple[str, ...] | None:
    for part in composition.parts:
        for word, least in _requirements(part).items():
            level = composition.levels.get(word)
            if not reaches(word, level, least):
                giver = _giver(composition, word)
                return (
                    f"'{part.name}' does not compose with '{giver}'",
                    f"{part.name} needs: {MEANING[word]} {_due(word, least)}",
                    f"{giver} gives: {_shown(word, level, exact=True)}",
                )
    return None


def _requirements(part: Part) -> dict[str, Level]:
    """What a part needs of the others: what it states, and a posterior unless it brings one."""
    stated: dict[str, Level] = dict(part.manifest.requires.stated())
    if "posterior_params" in part.manifest.hooks:
        stated["posterior"] = "gaussian"
    if part.name != DEFAULTS and "posterior_sample" not in part.manifest.hooks:
        stated.setdefault("posterior", "point")
    # the reason that helps first: without a posterior there is nothing else to speak of
    return dict(sorted(stated.items(), key=lambda item: item[0] != "posterior"))


def _giver(composition: Composition, word: str) -> str:
    """Whose level of ``word`` it is: that of the defaults' divergence may be another's.

    Over a frozen autoencoder nothing has a gradient, because of the plugin that freezes it.
    """
    freezing = [part.name for part in composition.parts if part.manifest.base == "frozen"]
    if freezing and word == "objective_gradient":
        return freezing[0]
    if word == "kl_gradient" and (stopper := _charging_nothing(composition)):
        return stopper
    owner = next(composition.owners[hook] for hook in GIVEN_BY[word] if hook in composition.owners)
    lowering = [
        part.name for part in composition.parts if part.name != DEFAULTS and not _factorised([part])
    ]
    return lowering[0] if owner == DEFAULTS and word == "kl" and lowering else owner


def _charging_nothing(composition: Composition) -> str:
    """The plugin because of which no divergence is part of what is minimised; empty without one.

    It freezes the autoencoder, or its objective says that the KL term has no gradient.
    """
    for part in composition.parts:
        owns = composition.owners["objective"] == part.name
        if part.manifest.base == "frozen" or (
            owns and part.manifest.provides.kl_gradient == frozenset()
        ):
            return part.name
    return ""


def _too_late(named: Sequence[Part]) -> tuple[str, ...] | None:
    """Plugins that would give a frozen autoencoder parts that it was not trained with."""
    freezing = next((part.name for part in named if part.manifest.base == "frozen"), "")
    for part in named if freezing else ():
        parts = [hook for hook in part.manifest.hooks if hook in MODEL_HOOKS]
        if not part.base and any(hook != "kl_term" for hook in parts):
            return (
                f"'{part.name}' does not compose with '{freezing}'",
                f"{freezing} needs: the autoencoder underneath as it was trained",
                f"{part.name} gives: another {', '.join(parts)}",
                f"due: train with --plugin {part.name} first; {freezing} works over that run",
            )
    return None


def _idle(composition: Composition) -> tuple[str, ...] | None:
    """Plugins that shape a divergence which nobody charges."""
    stopper = _charging_nothing(composition)
    for part in composition.parts if stopper else ():
        own = not part.base and part.name != DEFAULTS
        if own and part.manifest.hooks and set(part.manifest.hooks) <= OF_THE_KL:
            return (
                f"'{part.name}' does nothing beside '{stopper}'",
                f"{stopper} gives: an objective that charges no divergence",
                f"{part.name} has: {', '.join(part.manifest.hooks)}",
            )
    return None


def _factorised(parts: Iterable[Part]) -> bool:
    """Whether posterior and prior leave the KL the closed form that is a sum over dimensions."""
    given = [part.manifest.provides for part in parts]
    return all(g.posterior in {None, "gaussian"} and g.prior in {None, "standard"} for g in given)


def reaches(word: str, level: Level | None, least: Level) -> bool:
    """Whether ``level`` of ``word`` satisfies the requirement ``least``."""
    if level is None:
        return False
    if isinstance(least, frozenset):
        return least <= frozenset(level)
    if word in LEVELS:
        return LEVELS[word].index(str(level)) >= LEVELS[word].index(least)
    return level == least


def _due(word: str, least: Level) -> str:
    """What a level has to be, for the sentence that refuses."""
    return (
        f"to reach the {_shown(word, least)}"
        if isinstance(least, frozenset)
        else f"to be {_shown(word, least)}"
    )


def _shown(word: str, level: Level | None, exact: bool = False) -> str:
    if level is None:
        return "nothing"
    if (word, level) == ("posterior", "none"):
        return "none, as in a language model"
    if isinstance(level, frozenset):
        return " and ".join(sorted(level)) or "nothing"
    higher = LEVELS.get(word, ())
    return level if exact or word not in LEVELS or level == higher[-1] else f"{level} or better"


def _nearest(named: Sequence[Part], defaults: Part) -> list[str]:
    """The largest part of the wish that composes, as a command."""
    unique = list({part.name: part for part in named}.values())
    for size in range(min(len(unique), len(named) - 1), 0, -1):
        works = [
            chosen for chosen in combinations(unique, size) if _problem(chosen, defaults) is None
        ]
        if works:
            commands = [
                " ".join(f"--plugin {part.name}" for part in chosen) for chosen in works[:3]
            ]
            return [f"works: {commands[0]}", *(f"or:    {command}" for command in commands[1:])]
    return []
