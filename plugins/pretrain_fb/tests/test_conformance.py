from aecore.testing import parametrize_with_checks


@parametrize_with_checks("ae", "ae_pretrain", "free_bits")
def test_conformance(subject, check):
    check(subject)
