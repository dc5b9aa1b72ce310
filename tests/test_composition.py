"""Which methods fit together, by throw-away manifests that say what the papers' methods
would say.
"""

import itertools

import pytest
from support import DEFAULTS, part

from aecore.catalogue import Catalogue
from aecore.composition import compose
from aecore.errors import CompositionError
from aecore.hookspec import HOOKS
from aecore.manifest import LEVELS

POSTERIOR = ["posterior_sample"]
PRIOR = ["prior_logprob", "prior_sample"]
BOTH = ["encoder", "prior"]


def made(name, hooks, requires=None, **provides):
    """A part; ``batching`` and the like go beside what it provides."""
    beside = {
        word: provides.pop(word) for word in ("batching", "select_on", "base") if word in provides
    }
    return part(name, hooks, provides=provides, requires=requires or {}, **beside)


def schedule(name, **requires):
    return made(name, ["beta_schedule"], {"kl_gradient": ["encoder"], **requires})


def adversarial(name, kl_gradient=BOTH):
    return made(
        name,
        ["kl_term", "critic_loss"],
        kl="penalty",
        kl_estimator="penalty",
        kl_gradient=kl_gradient,
    )


#: The rows of the table in DESIGN.md, as far as its words exist.
PARTS = {
    p.name: p
    for p in (
        schedule("betavae"),
        schedule("annealing"),
        schedule("cyclical"),
        schedule("controlvae", kl="batch"),
        made("fb_dimension", ["kl_penalty"], {"kl": "dimension", "kl_gradient": ["encoder"]}),
        made("fb_sentence", ["kl_penalty"], {"kl": "sentence", "kl_gradient": ["encoder"]}),
        made("fb_batch", ["kl_penalty"], {"kl": "batch", "kl_gradient": ["encoder"]}),
        made("ae_pretrain", ["pre_train_init"], {"objective_gradient": ["encoder"]}),
        made("dae", ["corrupt_input"], {"objective_gradient": ["encoder"]}),
        made(
            "lagging", ["before_step"], {"objective_gradient": ["encoder"], "posterior": "density"}
        ),
        made(
            "savae",
            POSTERIOR,
            {"objective_gradient": ["encoder"], "kl": "sentence"},
            posterior="gaussian",
            geometry="euclidean",
        ),
        made(
            "flowprior",
            PRIOR,
            {"posterior": "density", "kl_gradient": ["prior"], "geometry": "euclidean"},
            prior="density",
        ),
        made(
            "mog_prior", PRIOR, {"kl_gradient": ["prior"], "geometry": "euclidean"}, prior="density"
        ),
        made(
            "vamp_prior", PRIOR, {"posterior": "density", "kl_gradient": ["prior"]}, prior="density"
        ),
        made(
            "vmf",
            [*POSTERIOR, *PRIOR, "kl_term"],
            posterior="density",
            prior="density",
            geometry="sphere",
            kl="sentence",
            kl_estimator="constant",
            kl_gradient=[],
        ),
        made(
            "poincare",
            [*POSTERIOR, *PRIOR, "decoder_condition"],
            posterior="density",
            prior="density",
            geometry="ball",
        ),
        made(
            "ivae",
            [*POSTERIOR, "kl_term", "critic_loss"],
            posterior="sampled",
            geometry="euclidean",
            kl="batch",
            kl_estimator="dual",
            kl_gradient=BOTH,
        ),
        made(
            "wae_mmd",
            ["kl_term"],
            {"geometry": "euclidean", "objective_gradient": ["encoder"]},
            kl="penalty",
            kl_estimator="penalty",
            kl_gradient=BOTH,
            batching="mixed",
        ),
        made(
            "wae_s",
            ["kl_term"],
            {"posterior": "gaussian"},
            kl="penalty",
            kl_estimator="penalty",
            kl_gradient=BOTH,
        ),
        made(
            "wae_d",
            [*POSTERIOR, "kl_term"],
            posterior="point",
            kl="penalty",
            kl_estimator="penalty",
            kl_gradient=["encoder"],
            batching="mixed",
        ),
        adversarial("wgan"),
        adversarial("wae_gan", ["encoder"]),
        made("ae", ["kl_term"], kl="penalty", kl_estimator="penalty", kl_gradient=[]),
        made("seq2seq", ["objective"], objective_gradient=["encoder", "decoder"], kl_gradient=[]),
        made("mapping", ["objective"], base="frozen", objective_gradient=[]),
        made("words", ["decoder_input"], {"posterior": "none", "objective_gradient": ["decoder"]}),
        made(
            "lstm_lm",
            [*POSTERIOR, "kl_term", "decoder_condition"],
            posterior="none",
            kl="sentence",
            kl_estimator="constant",
            kl_gradient=[],
        ),
    )
}


def composed(*names):
    return compose([PARTS[name] for name in names], DEFAULTS)


def refusal(*names):
    with pytest.raises(CompositionError) as caught:
        composed(*names)
    return caught.value


@pytest.mark.parametrize("name", PARTS)
def test_every_method_stands_alone(name):
    assert composed(name).names == (name,)


SCHEDULES = ("betavae", "annealing", "cyclical", "controlvae")
WORKS = [
    *[(s, "flowprior") for s in SCHEDULES],
    *[(s, "vamp_prior") for s in SCHEDULES],
    *[(s, "ivae") for s in SCHEDULES],  # the dual is a divergence
    *[(s, "poincare") for s in SCHEDULES],
    ("betavae", "wae_mmd"),
    ("fb_dimension",),
    ("fb_sentence", "flowprior"),
    ("fb_batch", "mog_prior"),
    ("fb_batch", "ivae"),
    ("fb_sentence", "poincare"),
    ("ae", "dae"),
    ("ae_pretrain", "fb_dimension", "cyclical"),
    ("lagging", "vamp_prior"),
    ("lagging", "vmf"),
    ("lagging", "poincare"),
    ("savae", "flowprior"),
    ("savae", "fb_dimension"),
    ("ivae", "mog_prior"),  # the second term of the dual moves the prior
    ("wae_d", "dae"),
    ("wgan", "mog_prior"),
    ("controlvae", "savae", "flowprior", "fb_sentence", "ae_pretrain", "dae"),
    ("seq2seq", "vmf", "dae"),  # another posterior, other words: both matter without a divergence
    ("words", "lstm_lm"),
    ("words", "seq2seq"),
]
REFUSED = {
    ("betavae", "vmf"): (
        "betavae",
        "vmf",
        "the gradient of the KL term to reach the encoder",
        "nothing",
    ),
    ("controlvae", "vmf"): (
        "controlvae",
        "vmf",
        "the gradient of the KL term to reach the encoder",
        "nothing",
    ),
    ("annealing", "ae"): (
        "annealing",
        "ae",
        "the gradient of the KL term to reach the encoder",
        "nothing",
    ),
    ("cyclical", "lstm_lm"): (
        "cyclical",
        "lstm_lm",
        "the posterior to be point or better",
        "none, as in a language model",
    ),
    ("controlvae", "wae_mmd"): (
        "controlvae",
        "wae_mmd",
        "the divergence to be batch or better",
        "penalty",
    ),
    ("controlvae", "wae_gan"): (
        "controlvae",
        "wae_gan",
        "the divergence to be batch or better",
        "penalty",
    ),
    ("fb_dimension", "flowprior"): (
        "fb_dimension",
        "flowprior",
        "the divergence to be dimension",
        "sentence",
    ),
    ("fb_dimension", "mog_prior"): (
        "fb_dimension",
        "mog_prior",
        "the divergence to be dimension",
        "sentence",
    ),
    ("fb_dimension", "poincare"): (
        "fb_dimension",
        "poincare",
        "the divergence to be dimension",
        "sentence",
    ),
    ("fb_dimension", "ivae"): ("fb_dimension", "ivae", "the divergence to be dimension", "batch"),
    ("fb_sentence", "ivae"): (
        "fb_sentence",
        "ivae",
        "the divergence to be sentence or better",
        "batch",
    ),
    ("fb_batch", "wgan"): ("fb_batch", "wgan", "the divergence to be batch or better", "penalty"),
    ("fb_sentence", "vmf"): (
        "fb_sentence",
        "vmf",
        "the gradient of the KL term to reach the encoder",
        "nothing",
    ),
    ("flowprior", "ivae"): (
        "flowprior",
        "ivae",
        "the posterior to be density or better",
        "sampled",
    ),
    ("vamp_prior", "wae_d"): (
        "vamp_prior",
        "wae_d",
        "the posterior to be density or better",
        "point",
    ),
    ("lagging", "ivae"): ("lagging", "ivae", "the posterior to be density or better", "sampled"),
    ("mog_prior", "wae_gan"): (
        "mog_prior",
        "wae_gan",
        "the gradient of the KL term to reach the prior",
        "encoder",
    ),
    ("mog_prior", "ae"): (
        "mog_prior",
        "ae",
        "the gradient of the KL term to reach the prior",
        "nothing",
    ),
    ("mog_prior", "lstm_lm"): (
        "mog_prior",
        "lstm_lm",
        "the posterior to be point or better",
        "none, as in a language model",
    ),
    ("dae", "lstm_lm"): (
        "dae",
        "lstm_lm",
        "the posterior to be point or better",
        "none, as in a language model",
    ),
    ("savae", "wae_s"): ("savae", "wae_s", "the divergence to be sentence or better", "penalty"),
    ("savae", "wgan"): ("savae", "wgan", "the divergence to be sentence or better", "penalty"),
    ("wae_s", "poincare"): ("wae_s", "poincare", "the posterior to be gaussian", "density"),
    ("wae_mmd", "poincare"): ("wae_mmd", "poincare", "the latent space to be euclidean", "ball"),
    ("annealing", "seq2seq"): (
        "annealing",
        "seq2seq",
        "the gradient of the KL term to reach the encoder",
        "nothing",
    ),
    ("mog_prior", "seq2seq"): (
        "mog_prior",
        "seq2seq",
        "the gradient of the KL term to reach the prior",
        "nothing",
    ),
    ("words", "mapping"): (
        "words",
        "mapping",
        "the gradient of the objective to reach the decoder",
        "nothing",
    ),
}


@pytest.mark.parametrize("names", WORKS, ids="+".join)
def test_what_composes(names):
    for order in itertools.islice(itertools.permutations(names), 6):
        assert composed(*order).names == order


@pytest.mark.parametrize("names", REFUSED, ids="+".join)
def test_what_is_refused_and_why(names):
    asks, gives, needed, given = REFUSED[names]
    for order in itertools.permutations(names):
        error = refusal(*order)
        assert error.what == f"'{asks}' does not compose with '{gives}'"
        assert error.evidence[:2] == (f"{asks} needs: {needed}", f"{gives} gives: {given}")


def test_a_refusal_word_for_word():
    assert str(refusal("fb_dimension", "flowprior")) == (
        "'fb_dimension' does not compose with 'flowprior'\n"
        "  fb_dimension needs: the divergence to be dimension\n"
        "  flowprior gives: sentence\n"
        "  works: --plugin fb_dimension\n"
        "  or:    --plugin flowprior"
    )


@pytest.mark.parametrize("other", ["seq2seq", "mapping"])
@pytest.mark.parametrize("idle", ["ae", "critical"])
def test_what_shapes_a_divergence_that_nobody_charges_is_refused(idle, other):
    parts = PARTS | {"critical": made("critical", ["critic_loss"])}
    for names in ((idle, other), (other, idle)):
        with pytest.raises(CompositionError, match=f"'{idle}' does nothing beside '{other}'") as e:
            compose([parts[name] for name in names], DEFAULTS)
        assert e.value.kind == "needs"


@pytest.mark.parametrize("name", ["vmf", "poincare", "ivae", "flowprior_alone"])
def test_a_frozen_autoencoder_gets_no_other_latent(name):
    parts = PARTS | {"flowprior_alone": made("flowprior_alone", PRIOR, prior="density")}
    with pytest.raises(CompositionError) as caught:
        compose([parts[name], parts["mapping"]], DEFAULTS)
    assert caught.value.kind == "base"
    assert "mapping needs: the autoencoder underneath as it was trained" in caught.value.evidence
    under = compose([parts["mapping"]], DEFAULTS, [parts[name]])  # as what lies underneath it may
    assert name in under.owners.values()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("betavae", "annealing"), "owners"),
        (("flowprior", "poincare"), "owners"),
        (("betavae", "vmf"), "needs"),
    ],
)
def test_a_refusal_has_a_kind(names, kind):
    assert refusal(*names).kind == kind


OWNED_TWICE = [
    ("betavae", "controlvae", "beta_schedule"),
    ("flowprior", "mog_prior", "prior_logprob"),
    ("vmf", "poincare", "posterior_sample"),
    ("ivae", "wae_mmd", "kl_term"),
]


@pytest.mark.parametrize(("one", "other", "hook"), OWNED_TWICE)
def test_two_owners_are_refused_by_name(one, other, hook):
    error = refusal(one, other)
    assert error.what == f"'{one}' and '{other}' both own {hook}"
    assert error.evidence == (
        f"{hook} has one owner: two would each replace what the other does",
        f"works: --plugin {one}",
        f"or:    --plugin {other}",
    )


def test_a_plugin_that_is_named_twice():
    error = refusal("dae", "betavae", "dae")
    assert str(error) == "'dae' is named twice\n  works: --plugin dae --plugin betavae"


def test_two_latent_spaces():
    flat = made("flat", PRIOR, prior="density", geometry="euclidean")
    ball = made("curved", POSTERIOR, posterior="density", geometry="ball")
    with pytest.raises(CompositionError) as caught:
        compose([ball, flat], DEFAULTS)
    assert caught.value.what == "'curved' and 'flat' do not share a latent space"
    assert caught.value.evidence[:3] == ("curved: ball", "flat: euclidean", "works: --plugin flat")


def test_a_curved_posterior_needs_a_prior_of_its_own_space():
    """The default prior is a density in flat space: on a sphere it would be wrong without
    an error.
    """
    bare = made("bare_sphere", POSTERIOR, posterior="density", geometry="sphere")
    with pytest.raises(
        CompositionError, match="'bare_sphere' and 'vae' do not share a latent space"
    ):
        compose([bare], DEFAULTS)
    assert composed("vmf").levels["geometry"] == "sphere"


def test_the_hints_are_true():
    """Every ``works:`` and ``or:`` line, of every refused pair and some triples, composes; and none
    bigger does.
    """
    hints = 0
    for size in (2, 3):
        for names in itertools.islice(
            itertools.combinations(PARTS, size), 0, None, 1 if size == 2 else 7
        ):
            try:
                composed(*names)
            except CompositionError as error:
                lines = [line for line in error.evidence if line.startswith(("works: ", "or:    "))]
                assert lines, names
                for line in lines:
                    chosen = tuple(word for word in line[7:].split() if word != "--plugin")
                    assert set(chosen) < set(names)
                    assert composed(*chosen).names == chosen
                    hints += 1
                if size == 3 and len(chosen) == 1:
                    for pair in itertools.combinations(names, 2):
                        assert refusal(*pair)
    assert hints > 300


@pytest.mark.parametrize(
    "names",
    [("flowprior",), ("mog_prior",), ("poincare",), ("flowprior", "savae"), ("vamp_prior",)],
)
def test_the_defaults_charge_by_the_sentence_once_posterior_or_prior_is_anothers(names):
    composition = composed(*names)
    assert composition.owners["kl_term"] == "vae"
    assert composition.levels["kl"] == "sentence"
    assert composition.levels["kl_estimator"] == "monte-carlo"


@pytest.mark.parametrize("names", [(), ("savae",), ("betavae", "dae")])
def test_they_charge_by_the_dimension_while_both_are_as_they_were(names):
    levels = composed(*names).levels
    assert (levels["kl"], levels["kl_estimator"]) == ("dimension", "analytic")


def test_the_levels_of_the_defaults():
    assert composed().levels == {
        "posterior": "gaussian",
        "prior": "standard",
        "kl": "dimension",
        "kl_estimator": "analytic",
        "kl_gradient": frozenset({"encoder", "prior"}),
        "objective_gradient": frozenset({"encoder", "decoder"}),
        "geometry": "euclidean",
    }


def test_the_defaults_cannot_price_an_implicit_posterior():
    implicit = made("implicit", POSTERIOR, posterior="sampled", geometry="euclidean")
    with pytest.raises(CompositionError) as caught:
        compose([implicit], DEFAULTS)
    assert str(caught.value) == (
        "'vae' does not compose with 'implicit'\n"
        "  vae needs: the posterior to be own_density or better\n  implicit gives: sampled"
    )


@pytest.mark.parametrize("other", ["vamp_prior", "lagging"])
def test_a_density_at_its_own_draws_alone_is_priced_but_not_asked_elsewhere(other):
    """As after an inverse autoregressive flow: log q(z given x) is known where z was drawn."""
    flow = made("iaf", POSTERIOR, posterior="own_density", geometry="euclidean")
    catalogue = Catalogue.discover()
    assert compose([flow], catalogue.defaults).levels["posterior"] == "own_density"
    with pytest.raises(CompositionError) as caught:
        compose([flow, catalogue.part(other)], catalogue.defaults)
    assert f"{other} needs: the posterior to be density or better" in str(caught.value)


def test_the_owner_of_a_hook_gives_its_level_and_the_rest_stay():
    levels = composed("ivae").levels
    assert (levels["posterior"], levels["kl"], levels["prior"], levels["kl_estimator"]) == (
        "sampled",
        "batch",
        "standard",
        "dual",
    )


@pytest.mark.parametrize(
    ("names", "mode"),
    [
        ((), "bucketed"),
        (("betavae",), "bucketed"),
        (("betavae", "wae_mmd"), "mixed"),
        (("wae_d",), "mixed"),
    ],
)
def test_the_strictest_batching_wins(names, mode):
    assert composed(*names).batching == mode
    assert composed(*reversed(names)).batching == mode


def test_the_first_wish_for_a_metric_counts():
    rec, bound = (made(name, ["extra_loss"], select_on=name) for name in ("rec", "nll_elbo"))
    assert compose([], DEFAULTS).select_on == "objective"
    assert compose([PARTS["dae"], bound, rec], DEFAULTS).select_on == "nll_elbo"
    assert compose([rec, bound], DEFAULTS).select_on == "rec"


def test_who_is_reached():
    composition = composed("fb_sentence", "flowprior", "dae")
    assert composition.implementers("prior_sample") == ["flowprior"]
    assert composition.implementers("posterior_sample") == ["vae"]
    assert composition.implementers("corrupt_input") == ["dae"]
    assert composition.implementers("extra_loss") == []
    assert composition.owned_by("vae") == {
        "posterior_sample",
        "decoder_condition",
        "kl_term",
        "beta_schedule",
        "objective",
    }
    assert set(composition.owners) == {name for name, hook in HOOKS.items() if hook.kind == "owner"}
    one, two = (made(name, ["kl_penalty", "extra_loss"]) for name in ("one", "two"))
    assert compose([two, one], DEFAULTS).implementers("kl_penalty") == ["two", "one"]
    assert compose([one, two], DEFAULTS).implementers("extra_loss") == ["one", "two"]


def test_labels():
    assert composed().label == "vae"
    assert composed("controlvae", "flowprior").label == "controlvae+flowprior"


@pytest.mark.parametrize("word", LEVELS)
def test_levels_are_ordered(word):
    """A requirement is met by its own level and by every higher one, and by no lower one."""
    hooks = {"posterior": POSTERIOR, "prior": PRIOR, "kl": ["kl_term"]}[word]
    # somebody else prices the divergence, so that the defaults ask nothing of posterior and prior
    price = made(
        "price",
        ["kl_term"],
        {"posterior": "none"},
        kl="penalty",
        kl_estimator="penalty",
        kl_gradient=[],
    )
    for least, level in itertools.product(LEVELS[word], repeat=2):
        asks = made("asks", ["extra_loss"], {"posterior": "none", word: least})
        estimator = "penalty" if level == "penalty" else "dual"
        said = {"kl_estimator": estimator, "kl_gradient": BOTH} if word == "kl" else {}
        gives = made("gives", hooks, {"posterior": "none"}, **{word: level}, **said)
        wanted = [asks, gives] if word == "kl" else [asks, gives, price]
        try:
            compose(wanted, DEFAULTS)
            composes = True
        except CompositionError:
            composes = False
        assert composes == (LEVELS[word].index(level) >= LEVELS[word].index(least)), (least, level)


def test_the_installed_plugins_compose_with_the_defaults():
    catalogue = Catalogue.discover()
    for name in ("betavae", "annealing", "controlvae"):
        assert compose([catalogue.part(name)], catalogue.defaults).owners["beta_schedule"] == name
