from aecore.testing import parametrize_with_checks


@parametrize_with_checks("flowprior")
def test_conformance(subject, check):
    check(subject)
