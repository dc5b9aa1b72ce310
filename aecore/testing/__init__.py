"""The conformance kit: one ``check_...`` for each promise that a plugin makes to the core.

A plugin's test is three lines, each promise a test of its own:

    @parametrize_with_checks("controlvae")
    def test_conformance(subject, check):
        check(subject)

Without pytest, `run_checks` gives the results as records, and a single check is called on a
subject: ``check_shapes(Subject.installed("controlvae"))``. A check that a method cannot pass is
excepted in its plugin.toml, with the reason: ``[name.exceptions] check_shapes = "..."``. Which
checks apply follows from the manifest: hooks, roles and levels.

What is not verified: that the method is the paper's, that it trains well, anything on a GPU.
"""

from aecore.manifest import Kept
from aecore.testing.declarations import (
    check_exceptions_are_known,
    check_invariants_can_be_asked,
    check_manifest_matches_class,
    check_published_settings_are_settings,
    check_settings_never_change,
    check_settings_round_trip,
    check_unknown_settings_are_refused,
)
from aecore.testing.densities import (
    check_kl_agrees_with_monte_carlo,
    check_posterior_density_integrates,
    check_posterior_draws_follow_the_density,
    check_posterior_mass,
    check_prior_density_integrates,
    check_prior_mass,
    check_prior_sample_agrees_with_logprob,
)
from aecore.testing.derivatives import (
    check_beta_is_a_weight,
    check_gradients_are_derivatives,
    check_samples_are_averaged,
)
from aecore.testing.evidence import Trial
from aecore.testing.gradients import (
    check_critic_leaves_main_parameters,
    check_gradient_reaches_the_encoder,
    check_joint_step_leaves_the_critic,
    check_kl_gradient_is_as_declared,
    check_penalty_keeps_the_gradient,
    check_prior_is_differentiable,
    check_stages_train_their_roles_alone,
)
from aecore.testing.halves import check_two_halves_are_one_batch
from aecore.testing.hooks import (
    check_corrupted_input_is_a_batch,
    check_decoder_input_is_tokens,
    check_hooks_are_called,
    check_leading_axes,
    check_levels_are_true,
    check_mapped_codes_are_codes,
    check_padding_changes_nothing,
    check_plugin_has_an_effect,
    check_posterior_needs_no_batch,
    check_posterior_takes_parameters,
    check_sentences_do_not_couple,
    check_shapes,
)
from aecore.testing.registry import CHECKS, Check, CheckFailure, Inconclusive, NotApplicable
from aecore.testing.repeats import (
    check_evaluation_is_deterministic,
    check_evaluation_leaves_training_alone,
    check_hooks_never_seed,
    check_instances_share_nothing,
    check_other_seed_other_result,
    check_resumed_run_is_identical,
    check_same_seed_same_result,
    check_state_survives_saving,
)
from aecore.testing.roles import (
    check_every_parameter_is_trained,
    check_parameters_are_in_their_places,
)
from aecore.testing.runner import (
    CheckResult,
    by_cause,
    parametrize_with_checks,
    promised_checks,
    run_checks,
)
from aecore.testing.subject import Subject
from aecore.testing.waiting import check_steps_do_not_wait

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailure",
    "CheckResult",
    "Inconclusive",
    "Kept",
    "NotApplicable",
    "Subject",
    "Trial",
    "by_cause",
    "check_beta_is_a_weight",
    "check_corrupted_input_is_a_batch",
    "check_critic_leaves_main_parameters",
    "check_decoder_input_is_tokens",
    "check_evaluation_is_deterministic",
    "check_evaluation_leaves_training_alone",
    "check_every_parameter_is_trained",
    "check_exceptions_are_known",
    "check_gradient_reaches_the_encoder",
    "check_gradients_are_derivatives",
    "check_hooks_are_called",
    "check_hooks_never_seed",
    "check_instances_share_nothing",
    "check_invariants_can_be_asked",
    "check_joint_step_leaves_the_critic",
    "check_kl_agrees_with_monte_carlo",
    "check_kl_gradient_is_as_declared",
    "check_leading_axes",
    "check_levels_are_true",
    "check_manifest_matches_class",
    "check_mapped_codes_are_codes",
    "check_other_seed_other_result",
    "check_padding_changes_nothing",
    "check_parameters_are_in_their_places",
    "check_penalty_keeps_the_gradient",
    "check_plugin_has_an_effect",
    "check_posterior_density_integrates",
    "check_posterior_draws_follow_the_density",
    "check_posterior_mass",
    "check_posterior_needs_no_batch",
    "check_posterior_takes_parameters",
    "check_prior_density_integrates",
    "check_prior_is_differentiable",
    "check_prior_mass",
    "check_prior_sample_agrees_with_logprob",
    "check_published_settings_are_settings",
    "check_resumed_run_is_identical",
    "check_same_seed_same_result",
    "check_samples_are_averaged",
    "check_sentences_do_not_couple",
    "check_settings_never_change",
    "check_settings_round_trip",
    "check_shapes",
    "check_stages_train_their_roles_alone",
    "check_state_survives_saving",
    "check_steps_do_not_wait",
    "check_two_halves_are_one_batch",
    "check_unknown_settings_are_refused",
    "parametrize_with_checks",
    "promised_checks",
    "run_checks",
]
