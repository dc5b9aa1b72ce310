"""A company is trained, and what is wrong with it is said: each fault by a plugin that has it."""

import pytest
import torch

from aecore.catalogue import Catalogue
from aecore.data import toy
from aecore.matrix.companies import companies, refusal
from aecore.matrix.trial import examined, sentences


def found(*company):
    kind, reason = refusal(company, Catalogue.discover()) or ("", "")
    return examined(company, kind, reason)


def test_the_sentences_are_of_the_toy_with_labels_and_answers():
    corpus = sentences()

    def mood(batch):
        words = batch.tokens[0, 1 : int(batch.lengths[0])]
        return toy.factors(corpus.vocabulary.decode(words)).sentiment

    for row in range(4):
        batch = corpus.train.batch(torch.tensor([row]))
        moods = [mood(batch), mood(batch.target)]
        assert moods[0] == corpus.labels[int(batch.labels)]
        assert sorted(moods) == ["negative", "positive"]


@pytest.mark.parametrize("company", [("controlvae", "savae"), ("daae", "dae"), ("ae_pretrain",)])
def test_a_sound_company(company):
    cell = found(*company)
    assert (cell.status, cell.wrong, cell.anyway) == ("sound", (), None)
    assert cell.says() == ["every hook is called, and each matters; saved and resumed as it was"]


def test_owners_and_needs_are_refused_and_training_refuses_them_too():
    owners = found("annealing", "controlvae")
    assert (owners.status, owners.kind) == ("refused", "owners")
    assert owners.reason == "'annealing' and 'controlvae' both own beta_schedule"
    needs = found("controlvae", "wae_mmd")
    assert needs.word == "refused: needs"
    assert needs.reason == (
        "controlvae needs: the divergence to be batch or better; wae_mmd gives: penalty"
    )
    assert needs.anyway == ()  # it would run, and steer what is no divergence
    assert found("controlvae", "dae", "wae_mmd").anyway is None
    assert found("word_dropout", "emb2emb").anyway == (
        "decoder_input of 'word_dropout' is never called",
        "training is the same without 'word_dropout'",
    )


def test_a_cell_that_says_refused_where_training_begins_is_broken():
    cell = examined(("controlvae", "savae"), "owners", "so it is said")
    assert cell.status == "broken"
    assert cell.wrong == ("composition refuses it, and training does not",)


IDLE = "@hookimpl\ndef kl_penalty(self, kl, step):\n    return kl"


def test_a_plugin_without_an_effect_is_named(add):
    add("idle", IDLE, ["kl_penalty"])
    assert found("idle", "betavae").wrong == ("training is the same without 'idle'",)


def test_a_constant_is_no_effect(add):
    add("costly", "@hookimpl\ndef kl_penalty(self, kl, step):\n    return kl + 1", ["kl_penalty"])
    assert found("costly").wrong == ("training is the same without 'costly'",)


DEAF = "@hookimpl\ndef objective(self, step):\n    return 2 * step.rec.mean(1)"


def test_a_hook_that_another_bypasses_is_named(add):
    manifest = '[deaf.provides]\nobjective_gradient = ["encoder", "decoder"]\n'
    add("deaf", DEAF, ["objective"], manifest)
    assert found("deaf").status == "sound"
    assert found("deaf", "free_bits").wrong == (
        "kl_penalty of 'free_bits' is never called",
        "training is the same without 'free_bits'",
    )
    # what its manifest could have said
    add("frank", DEAF, ["objective"], manifest.replace("deaf", "frank") + "kl_gradient = []\n")
    assert found("frank", "free_bits").kind == "needs"


def test_state_that_dies_with_the_process_is_found(add):
    body = """
    calls = 0
    @hookimpl
    def beta_schedule(self):
        self.calls += 1
        return 0.1 * self.calls
    """
    add("forgetful", body, ["beta_schedule"])
    (line,) = found("forgetful", "dae").wrong
    assert line.startswith("a killed and resumed run ends with other weights: ")


def test_state_that_is_not_saved_is_found(add):
    body = """
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.scale = 1 + torch.rand(())
    @hookimpl
    def kl_term(self, step):
        return self.scale * step.sample.z.square().sum(-1)
    """
    provides = 'kl = "sentence"\nkl_estimator = "monte-carlo"\nkl_gradient = ["encoder"]\n'
    add("absent", body, ["kl_term"], f"[absent.provides]\n{provides}")
    lines = found("absent", "dae").wrong
    assert any(line.startswith("kl is ") and "after saving and loading" in line for line in lines)
    assert not any(line.startswith("rec is ") for line in lines)


def test_a_figure_that_is_not_finite_is_found(add):
    body = """
    @hookimpl
    def decoder_condition(self, z):
        return z if self.training else z / 0
    """
    add("boundless", body, ["decoder_condition"])
    (line, *_) = found("boundless").wrong
    assert "not finite" in line or "nan" in line or "inf" in line


def test_an_exception_is_a_finding(add):
    body = """
    @hookimpl
    def beta_schedule(self, kl):
        raise ValueError("no such beta")
    """
    add("fragile", body, ["beta_schedule"])
    cell = found("fragile", "dae")
    assert cell.status == "broken"
    assert "raised ValueError in beta_schedule: no such beta" in cell.wrong[0]


def test_companies_come_in_both_orders_where_chains_meet(add):
    add("idle", IDLE, ["kl_penalty"])
    pairs = companies(Catalogue.discover(), 2)
    assert {("free_bits", "idle"), ("idle", "free_bits")} <= set(pairs)
    assert {("daae", "dae"), ("dae", "daae")} <= set(pairs)
    assert {("ae_pretrain", "wae_mmd"), ("wae_mmd", "ae_pretrain")} <= set(pairs)  # stages
    assert ("betavae", "annealing") not in pairs  # one order is enough
    mine = companies(Catalogue.discover(), 3, "idle")
    assert all("idle" in company for company in mine)
    assert len({*mine}) == len(mine)
