"""What to try when a run raises an alarm: plugins that would compose, and settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aecore.catalogue import Catalogue
from aecore.composition import DEFAULTS, Composition, compose
from aecore.errors import CompositionError
from aecore.evaluation.collapse import ALARMS, COLLAPSED
from aecore.hookspec import HOOKS

#: What to try against an idle KL: it is the price of means and deviations that all sentences share.
AGAINST_IDLE = (
    "try: more steps or a larger train.lr: the code is learnt after the KL is paid",
    "try: --plugin ae_pretrain: an encoder that knows the sentences before the KL is charged",
)

#: The word of a manifest that names a plugin here.
COLLAPSE = "collapse"
#: How plugins against a collapse hold the KL up, by hook.
REMEDIES = {
    "beta_schedule": "a smaller weight on the KL, at first or throughout, or a set point for it",
    "kl_penalty": "part of the KL free of charge",
    "before_step": "more updates for the encoder",
}


def described(alarm: str, signs: Sequence[str], composition: Composition) -> str:
    """The text of an alarm: what is wrong, how that shows, what to try."""
    tries = remedies(composition) if alarm == COLLAPSED else against_idle(composition)
    return "\n".join([ALARMS[alarm][0], *(f"  {line}" for line in [*signs, *tries])])


def against_idle(composition: Composition) -> list[str]:
    """What to try against an idle KL, without what the composition has already."""
    return [
        line
        for line in AGAINST_IDLE
        if not any(f"--plugin {name}:" in line for name in composition.names)
    ]


def remedies(composition: Composition, catalogue: Catalogue | None = None) -> list[str]:
    """What to try, a line each: unused plugins of the catalogue that would compose."""
    found = catalogue or Catalogue.discover()
    lines = []
    for hook, effect in REMEDIES.items():
        names = [name for name in _against(found, hook) if _fits(name, hook, composition, found)]
        if names:
            *most, last = names
            lines.append(
                f"try: --plugin {', '.join(most) + ' or ' if most else ''}{last}: {effect}"
            )
    owner = composition.owners.get("beta_schedule", DEFAULTS)
    if owner != DEFAULTS:
        lines.append(f"or:  other settings of '{owner}'; see: aecore plugins info {owner}")
    return lines


def _fits(name: str, hook: str, composition: Composition, catalogue: Catalogue) -> bool:
    """Whether the plugin is new to the composition and fits, in place of an owner of ``hook``.

    Of one that is not installed, nothing but its hooks is known, and they are enough to name it.
    """
    if name in composition.names:
        return False
    if name not in catalogue.entries:
        return True
    replaced = composition.owners[hook] if HOOKS[hook].kind == "owner" else ""
    parts = [part for part in composition.parts if part.name not in {DEFAULTS, replaced}]
    try:
        compose([*parts, catalogue.part(name)], catalogue.defaults)
    except CompositionError:
        return False
    return True


def _against(catalogue: Catalogue, hook: str) -> Iterator[str]:
    """The names of the plugins that say they are against a collapse, by a hook; installed first."""
    for name, entry in catalogue.entries.items():
        if (
            name != DEFAULTS
            and entry.status == "ok"
            and entry.manifest is not None
            and hook in entry.manifest.hooks
            and COLLAPSE in entry.manifest.against
        ):
            yield name
    for name, listing in catalogue.known.items():
        listed = hook in listing.hooks and COLLAPSE in listing.against
        if name not in catalogue.entries and listed:
            yield name
