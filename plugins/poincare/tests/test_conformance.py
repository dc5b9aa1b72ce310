from aecore.testing import parametrize_with_checks


@parametrize_with_checks("poincare")
def test_conformance(subject, check):
    check(subject)


@parametrize_with_checks(
    "poincare", settings={"decoder": "log_0", "curvature": 0.1, "prior_std": 0.7}
)
def test_conformance_of_the_other_settings(subject, check):
    check(subject)
