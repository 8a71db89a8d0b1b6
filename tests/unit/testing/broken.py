"""Methods that each break one promise, by the name of the check that must find it, with a part of its sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from anomalib.metrics import Evaluator

from dualclip_lightning.models import ClipZeroShot


def changed(change: Callable[[Any, torch.Tensor], Any]) -> type:
    """Return a class whose torch module's predictions pass through `change(prediction, images)`."""

    class Changed(ClipZeroShot):
        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            forward = self.model.forward
            self.model.forward = lambda images: change(forward(images), images)

    return Changed


def with_scores(change: Callable[[torch.Tensor], torch.Tensor]) -> type:
    """Return a class whose image scores [B] pass through `change`."""
    return changed(lambda found, _: found._replace(pred_score=change(found.pred_score)))


class UnclearLearning(ClipZeroShot):
    learning_type = "zero-shot"


class KindInWords(ClipZeroShot):
    kind = "inductive"


def takes_anything(**arguments: Any) -> ClipZeroShot:
    return ClipZeroShot(**{name: arguments[name] for name in ("pretrained", "class_name")})


class IgnoresDrawing(ClipZeroShot):
    def __init__(self, *, drawing: str = "winclip", **common: Any) -> None:  # noqa: ARG002
        super().__init__(**common)


class Validates(ClipZeroShot):
    trainer_arguments = {}  # noqa: RUF012 - a constant


class ReadsLabels(ClipZeroShot):
    def test_step(self, batch, *args):
        batch = super().test_step(batch, *args)
        return batch.update(pred_score=batch.pred_score * (0.5 + 0.5 * batch.gt_label.float()))


class TestsOtherwise(ClipZeroShot):
    def test_step(self, batch, *args):
        batch = super().test_step(batch, *args)
        return batch.update(pred_score=batch.pred_score / 2)


class Remembers(ClipZeroShot):
    runs = 0

    def on_test_start(self):
        super().on_test_start()
        self.runs += 1

    def predict_step(self, *args):
        batch = super().predict_step(*args)
        return batch.update(pred_score=batch.pred_score / (1 + self.runs))


class Learns(ClipZeroShot):
    def predict_step(self, *args):
        self.backbone.clip.visual.class_embedding.mul_(0.9)
        return super().predict_step(*args)


class Thawed(ClipZeroShot):
    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self.backbone.clip.requires_grad_(requires_grad=True)


class SavesEverything(ClipZeroShot):
    def __init__(self, **common: Any) -> None:
        super().__init__(**common)
        self._state_dict_hooks.clear()


class AlwaysObject(ClipZeroShot):
    def setup(self, stage):
        super().setup(stage)
        described = self.described_class
        self.set_class_name("object")
        self.described_class = described


class ForgetsClass(ClipZeroShot):
    def _chosen_words(self):
        return "object"


class WrongRecord(ClipZeroShot):
    def provenance(self):
        return super().provenance() | {"kind": "transductive"}


class NoMetrics(ClipZeroShot):
    @staticmethod
    def configure_evaluator():
        return Evaluator()


class ForgetsArguments(ClipZeroShot):
    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        checkpoint["hyper_parameters"].pop("temperature")


class NoCheckpoint(ClipZeroShot):
    def teardown(self, stage):
        pass


def nan_for_the_first(scores):
    return torch.where(torch.arange(len(scores)) == 0, torch.nan, scores)


def fixed_size(found, _):
    return found._replace(anomaly_map=found.anomaly_map[:, :48, :48])


def scaled_by_contrast(found, images):
    return found._replace(pred_score=found.pred_score * (images.std() / images.std()))


def noisy(found, _):
    return found._replace(pred_score=found.pred_score * torch.rand(()))


BROKEN: dict[str, tuple[Any, str]] = {
    "is_a_method_of_anomalib": (UnclearLearning, "learning_type is not a LearningType"),
    "says_what_a_score_depends_on": (KindInWords, "kind is 'inductive'. Set it to a value of Kind"),
    "an_unknown_argument_is_refused_by_name": (takes_anything, "no_such_argument=1 is accepted"),
    "a_bad_argument_is_refused_by_name": (IgnoresDrawing, "drawing='no such drawing' is accepted"),
    "validation_reads_no_labels": (Validates, "limit_val_batches None instead of 0"),
    "every_image_gets_a_finite_score_and_map": (with_scores(nan_for_the_first), "A score is not finite"),
    "images_get_different_scores": (with_scores(torch.round), "random images get only"),
    "a_batch_of_any_size_is_scored": (with_scores(torch.squeeze), r"has shape \[\] instead of \[1\]"),
    "an_image_need_not_be_square": (changed(fixed_size), r"shape \[3, 32, 48\] instead of \[3, 32, 80\]"),
    "an_image_of_one_colour_has_a_finite_score": (changed(scaled_by_contrast), "not finite .* of the constant 0"),
    "batches_change_no_score": (with_scores(lambda scores: scores / scores.max()), "In batches of 1 instead of 9"),
    "the_order_of_images_changes_no_score": (
        with_scores(lambda scores: scores * torch.linspace(0, 1, len(scores))), "In another order, the score of",
    ),
    "a_score_depends_on_no_other_image": (
        with_scores(lambda scores: scores - scores.min()), "Without the other images, the score of",
    ),
    "labels_and_masks_change_no_score": (ReadsLabels, "With wrong labels and masks"),
    "images_without_labels_get_the_same_scores": (TestsOtherwise, "In predict, without labels"),
    "the_same_seed_gives_the_same_result": (changed(noisy), "With the same seed, the score of 9 of 9"),
    "a_second_run_gives_the_same_result": (Remembers, "In a second run of the same object"),
    "the_callers_generator_is_left_alone": (changed(noisy), "the global generator of torch"),
    "a_test_changes_no_weight": (Learns, r"changes .* weight.*class_embedding"),
    "the_backbone_is_frozen": (Thawed, "of the backbone take gradients"),
    "the_state_holds_no_frozen_weights": (SavesEverything, "state_dict holds .* frozen parameter"),
    "the_class_name_is_honoured": (ForgetsClass, "prompts describe 'object'"),
    "a_run_records_what_determined_it": (WrongRecord, "provenance.json states another kind"),
    "its_own_metrics_are_computed": (NoMetrics, "A test gives no metrics"),
    "a_checkpoint_gives_the_same_scores": (ForgetsArguments, "Loaded from a checkpoint, the score"),
    "fit_leaves_a_checkpoint": (NoCheckpoint, "Engine.fit leaves no checkpoint"),
}  # fmt: skip
