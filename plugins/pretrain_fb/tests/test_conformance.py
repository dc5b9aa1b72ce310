from aecore.testing import parametrize_with_checks


@parametrize_with_checks("ae", "ae_pretrain", "free_bits")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks("free_bits", settings={"mode": "batch", "target_kl": 2.0})
def test_conformance_where_sentences_couple(subject, check):
    check(subject)
