"""The checks, each a function that gets the method under test and raises AssertionError if it fails."""

from dualclip_lightning.testing.checks import independence, interface, outputs, state

CHECKS = (
    interface.is_a_method_of_anomalib,
    interface.says_what_a_score_depends_on,
    interface.an_unknown_argument_is_refused_by_name,
    interface.a_bad_argument_is_refused_by_name,
    interface.validation_reads_no_labels,
    outputs.every_image_gets_a_finite_score_and_map,
    outputs.images_get_different_scores,
    outputs.a_batch_of_any_size_is_scored,
    outputs.an_image_need_not_be_square,
    outputs.an_image_of_one_colour_has_a_finite_score,
    independence.batches_change_no_score,
    independence.the_order_of_images_changes_no_score,
    independence.a_score_depends_on_no_other_image,
    independence.labels_and_masks_change_no_score,
    independence.images_without_labels_get_the_same_scores,
    independence.the_same_seed_gives_the_same_result,
    independence.a_second_run_gives_the_same_result,
    independence.the_callers_generator_is_left_alone,
    state.a_test_changes_no_weight,
    state.the_backbone_is_frozen,
    state.the_state_holds_no_frozen_weights,
    state.the_class_name_is_honoured,
    state.a_run_records_what_determined_it,
    state.its_own_metrics_are_computed,
    state.a_checkpoint_gives_the_same_scores,
    state.fit_leaves_a_checkpoint,
)
"""All checks, the quickest first."""
