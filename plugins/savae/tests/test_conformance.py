from aecore.testing import parametrize_with_checks


@parametrize_with_checks("savae")
def test_conformance(subject, check):
    check(subject)
