"""What an alarm suggests: only what the catalogue knows, the run does not use, and would compose
with it.
"""

from dataclasses import replace

from support import build, part

from aecore.catalogue import Catalogue
from aecore.composition import compose
from aecore.evaluation.collapse import idle_signs
from aecore_cli.advice import described, remedies


def test_it_suggests_what_the_catalogue_knows_and_the_run_does_not_use():
    assert remedies(build().composition, Catalogue({}, {})) == []
    catalogue = Catalogue.discover()
    plain = "\n".join(remedies(build().composition, catalogue))
    assert "try: --plugin annealing, " in plain
    parts = [part("annealing", ["beta_schedule"])]
    steered = "\n".join(remedies(compose(parts, catalogue.defaults), catalogue))
    assert "--plugin betavae" in steered
    assert "annealing," not in steered
    assert steered.endswith(
        "or:  other settings of 'annealing'; see: aecore plugins info annealing"
    )


def test_it_suggests_nothing_that_the_run_would_refuse():
    catalogue = Catalogue.discover()
    uncharged = compose([catalogue.part("ae")], catalogue.defaults)
    text = "\n".join(remedies(uncharged, catalogue))
    for name in ("annealing", "betavae", "controlvae", "cyclical", "free_bits"):
        assert name not in text
    assert "lagging" in text


def test_a_hook_alone_is_no_remedy():
    """A plugin whose kl_penalty is no floor is not named: what helps says so itself."""
    catalogue = Catalogue.discover()
    entry = catalogue.entries["free_bits"]
    other = replace(entry, manifest=entry.manifest.model_copy(update={"against": ()}))
    assert "free_bits" in "\n".join(remedies(build().composition, catalogue))
    entries = {**catalogue.entries, "free_bits": other}
    assert "free_bits" not in "\n".join(remedies(build().composition, Catalogue(entries, {})))


def test_the_alarm_says_how_much_and_what_to_try():
    text = described(
        "idle", idle_signs({"nll_elbo": 20.0, "kl": 15.5, "mi_256": 2.6}), build().composition
    )
    assert text.splitlines()[:2] == [
        "most of the KL says nothing of the sentence",
        "  of 15.50 nats of KL, 2.60 tell sentences apart (mutual information, of at most 5.55)",
    ]
    assert "--plugin ae_pretrain" in text
    pretrained = compose([Catalogue.discover().part("ae_pretrain")], Catalogue.discover().defaults)
    assert "--plugin ae_pretrain" not in described("idle", ["x"], pretrained)
