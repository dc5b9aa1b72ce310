"""FGIM: its walk by hand, its independence of the batch, and runs alone and behind emb2emb."""

import math

import pytest
import torch
from aecore_fgim.walk import Walk

import aecore
from aecore import PluginError, Step
from aecore.errors import ConfigError
from aecore.testing import Subject, parametrize_with_checks
from aecore.testing.lab import batch_of, build
from aecore.transfer import TransferRequest

QUICK = {"train.max_steps": 4, "train.checkpoint_seconds": 0}
SENTENCES = ["the doctor frowns in the castle", "this young king was awful in the park"]


@parametrize_with_checks("fgim")
def test_conformance(subject, check):
    check(subject)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def unchanged(z):
    return z


def first(z):
    """A classifier that reads the first coordinate: logit = z_0."""
    return z[:, 0]


# The walk


def test_steps_by_hand():
    """z_0 grows by w decay^t (1 - sigmoid(z_0)), the slope of log sigmoid; the rest stays."""
    z = torch.tensor([[-1.0, 3.0]])
    found = Walk([2.0], 0.5, 3, 0.999).from_codes(z, first, unchanged)
    due = -1.0
    for step in range(3):
        due += 2.0 * 0.5**step * (1 - 1 / (1 + math.exp(-due)))
    torch.testing.assert_close(found.z, torch.tensor([[due, 3.0]]))
    torch.testing.assert_close(found.probability, torch.tensor([1 / (1 + math.exp(-due))]))
    assert (found.weight.tolist(), found.steps.tolist()) == ([2.0], [3.0])


def test_the_smallest_weight_that_convinces_is_kept():
    """From -1 to a probability of 0.9 in at most two steps: 1 and 2 fall short, 4 does not."""
    walk = Walk([8.0, 1.0, 4.0, 2.0], 1.0, 2, 0.9)
    found = walk.from_codes(torch.tensor([[-1.0], [5.0]]), first, unchanged)
    assert found.weight.tolist() == [4.0, 0.0]
    assert found.steps.tolist() == [2.0, 0.0]
    assert bool((found.probability >= 0.9).all())
    for short in (1.0, 2.0):
        alone = Walk([short], 1.0, 2, 0.9).from_codes(torch.tensor([[-1.0]]), first, unchanged)
        assert float(alone.probability) < 0.9


def test_a_code_that_is_there_stays_and_stops():
    z = torch.tensor([[9.0, 1.0]])
    found = Walk([1.0], 0.9, 30, 0.999).from_codes(z, first, unchanged)
    assert torch.equal(found.z, z)
    assert found.steps.tolist() == [0.0]


def test_where_no_weight_is_enough_the_most_probable_point_is_kept():
    """A classifier with a bump: small steps climb it, large ones leap over."""

    def bump(z):
        return -((z[:, 0] - 1) ** 2)

    z = torch.zeros(1, 1)
    found = Walk([0.5, 40.0], 1.0, 10, 0.999).from_codes(z, bump, unchanged)
    assert found.weight.tolist() == [0.5]
    assert abs(float(found.z) - 1) < 0.05
    nothing = Walk([40.0], 1.0, 1, 0.999).from_codes(z, bump, unchanged)
    assert nothing.weight.tolist() == [0.0]
    assert torch.equal(nothing.z, z)


def test_steps_end_on_the_latent_space():
    def sphere(z):
        return z / z.norm(dim=1, keepdim=True)

    z = sphere(torch.randn(5, 3))
    found = Walk([0.5, 1.0], 0.9, 10, 0.7).from_codes(z, lambda z: 3 * z[:, 0], sphere)
    torch.testing.assert_close(found.z.norm(dim=1), torch.ones(5))
    assert bool((found.probability > 0.69).all())


def test_no_sentence_has_a_say_in_anothers_walk():
    model = build(Subject.installed("fgim"), dropout=0.0)
    z = torch.randn(33, model.sizes.latent, dtype=torch.float64)
    model.double()

    def told(codes):
        request = TransferRequest()
        return model.latent_map(codes, request), request.told

    whole, of_all = told(z)
    for row in (0, 7, 32):
        alone, of_one = told(z[row : row + 1])
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-9)
        assert {name: float(value) for name, value in of_one.items()} == pytest.approx(
            {name: float(value[row]) for name, value in of_all.items()}, abs=1e-9
        )


def test_the_probability_of_the_target_grows_and_is_told():
    """The sign: the classifier's own answer before and after."""
    model = build(Subject.installed("fgim"), dropout=0.0)
    plugin, z, request = model.plugin("fgim"), torch.randn(9, model.sizes.latent), TransferRequest()
    before = torch.sigmoid(plugin.judge(z)[:, 0])
    moved = model.latent_map(z, request)
    after = torch.sigmoid(plugin.judge(moved)[:, 0])
    moving = before < 0.9
    assert 0 < moving.sum() < 9
    assert bool((after > before)[moving].all())
    assert torch.equal(moved[~moving], z[~moving])
    torch.testing.assert_close(request.told["fgim.target"], after)
    assert set(request.told) == {"fgim.weight", "fgim.steps", "fgim.target"}


def test_the_loss_of_the_classifier_by_hand():
    model = build(Subject.installed("fgim", {"noise": 0.0}), dropout=0.0)
    plugin, step = model.plugin("fgim"), Step(model, batch_of(7), training=True)
    plugin.wanted.fill_(1)
    p = torch.sigmoid(plugin.judge(step.code)[:, 0])
    due = torch.where(step.batch.labels == 1, -p.log(), -(1 - p).log())
    torch.testing.assert_close(plugin.extra_loss(step=step), due)


# Runs


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "ae"
    return aecore.train(["ae"], "toy[:5%]", {"train.max_steps": 30}, out=path).path


def over(autoencoder, out, plugins=("fgim",), **settings):
    wanted = {"fgim.autoencoder": str(autoencoder), **QUICK}
    wanted |= {"emb2emb.supervision": "labels"} if "emb2emb" in plugins else {}
    wanted |= {f"fgim.{name}": value for name, value in settings.items()}
    return aecore.train(list(plugins), "toy:labelled[:5%]", wanted, out=out)


def test_alone_it_trains_its_classifier_and_moves_codes(autoencoder, tmp_path):
    run = over(autoencoder, tmp_path / "run")
    rows = [row for row in run.metrics() if "fgim.right" in row]
    assert rows
    found = run.transferred(SENTENCES)
    assert len(found.sentences) == 2
    before = torch.sigmoid(run.model.plugin("fgim").judge(run.encode(SENTENCES))[:, 0])
    assert bool((found.told["fgim.target"] > before).all())
    nowhere = run.transferred(SENTENCES, TransferRequest(strength=0.0)).sentences
    assert nowhere == run.reconstruct(SENTENCES)


def test_behind_emb2emb_it_begins_where_that_ends(autoencoder, tmp_path):
    run = over(autoencoder, tmp_path / "run", ("emb2emb", "fgim"))
    z, model = run.encode(SENTENCES), run.model
    first, last = model.plugin("emb2emb"), model.plugin("fgim")
    halfway = first.latent_map(z=z, request=TransferRequest())
    due = last.latent_map(z=halfway, request=TransferRequest())
    torch.testing.assert_close(model.latent_map(z, TransferRequest()), due)


def test_what_is_wrong_is_said(autoencoder, tmp_path):
    with pytest.raises(PluginError, match="no label of the corpus is called 'happy'"):
        over(autoencoder, tmp_path / "a", target="happy")
    with pytest.raises(ConfigError, match="name different autoencoders"):
        aecore.train(
            ["emb2emb", "fgim"],
            "toy:labelled[:5%]",
            {
                "emb2emb.supervision": "labels",
                "emb2emb.autoencoder": str(autoencoder),
                "fgim.autoencoder": str(tmp_path),
            },
            out=tmp_path / "a",
        )
    with pytest.raises(ConfigError, match="weights"):
        over(autoencoder, tmp_path / "a", weights=[])
    with pytest.raises(ConfigError, match="weights"):
        over(autoencoder, tmp_path / "a", weights=[1.0, -1.0])
