from aecore.testing import parametrize_with_checks


@parametrize_with_checks("mog_prior", "vamp_prior")
def test_conformance(subject, check):
    check(subject)
