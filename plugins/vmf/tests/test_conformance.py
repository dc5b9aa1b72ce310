from aecore.testing import parametrize_with_checks


@parametrize_with_checks("vmf")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks("vmf", settings={"learned": True})
def test_conformance_of_a_learned_kappa(subject, check):
    check(subject)
