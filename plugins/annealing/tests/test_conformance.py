from aecore.testing import parametrize_with_checks


@parametrize_with_checks("annealing")
def test_conformance(subject, check):
    check(subject)
