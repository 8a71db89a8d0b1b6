from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule, Trainer
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
from torch.utils.data import DataLoader

from dualclip_lightning.metrics import default_evaluator
from dualclip_lightning.metrics.evaluator import ClassCounts
from dualclip_lightning.metrics.functional import FPR_LIMIT

IMAGE = {"image_AUROC", "image_F1Max", "image_AP"}
PIXEL = {"pixel_AUROC", "pixel_F1Max", "pixel_PRO", "pixel_AP"}


class Scores:
    """Random scores, labels, maps and masks of a test set, in which scores are weakly related to labels."""

    def __init__(self, labels: list[int], seed: int = 0, masks: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.tensor(labels)
        self.scores = (torch.rand(len(labels), generator=generator) + 0.3 * self.labels).clamp(0, 1)
        self.masks = torch.zeros(len(labels), 20, 24, dtype=torch.bool)
        for mask, anomalous in zip(self.masks, labels, strict=True):
            if anomalous:
                mask[2:7, 3:12] = True
                mask[12:15, 15:20] = True
        self.maps = (torch.rand(self.masks.shape, generator=generator) + 0.4 * self.masks).clamp(0, 1)
        self.has_masks = masks

    def batches(self, size: int) -> list[ImageBatch]:
        return [
            ImageBatch(
                image=torch.zeros(len(part), 3, 20, 24),
                gt_label=self.labels[part],
                gt_mask=self.masks[part] if self.has_masks else None,
                pred_score=self.scores[part],
                anomaly_map=self.maps[part],
            )
            for part in torch.arange(len(self.labels)).split(size)
        ]


class Shell(LightningModule):
    """Module that passes batches through, so that the evaluator runs inside a real Trainer."""

    def __init__(self, evaluator: torch.nn.Module) -> None:
        super().__init__()
        self.evaluator = evaluator

    def test_step(self, batch: ImageBatch) -> ImageBatch:
        return batch


def run(evaluator, data: Scores, size: int = 4) -> dict[str, float]:
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[evaluator], enable_progress_bar=False, enable_model_summary=False
    )
    (results,) = trainer.test(Shell(evaluator), DataLoader(data.batches(size), batch_size=None), verbose=False)
    return results


MIXED = [0, 1, 0, 1, 1, 0, 0, 1, 1]


def f1_max(target: np.ndarray, score: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(target, score)
    return (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()


@pytest.mark.parametrize("size", [1, 4, 9])
def test_metrics_equal_scikit_learn_for_any_batch_size(size):
    data = Scores(MIXED)
    results = run(default_evaluator(), data, size)
    assert results.keys() == IMAGE | PIXEL
    for prefix, pair in [("image", (data.labels, data.scores)), ("pixel", (data.masks, data.maps))]:
        target, score = (tensor.numpy().ravel() for tensor in pair)
        assert results[f"{prefix}_AUROC"] == pytest.approx(roc_auc_score(target, score), abs=1e-5)
        assert results[f"{prefix}_AP"] == pytest.approx(average_precision_score(target, score), abs=1e-5)
        assert results[f"{prefix}_F1Max"] == pytest.approx(f1_max(target, score), abs=1e-5)


@pytest.mark.slow
def test_pro_is_the_mean_overlap_of_regions_up_to_the_false_positive_limit():
    data = Scores(MIXED)
    masks, maps = data.masks.numpy(), data.maps.numpy()
    regions = []
    for mask, score_map in zip(masks, maps, strict=True):
        numbered, count = label(mask)
        regions += [score_map[numbered == i] for i in range(1, count + 1)]
    thresholds = np.unique(maps)[::-1]
    fpr = np.array([0, *((maps[~masks] >= t).mean() for t in thresholds)])
    overlap = np.array([0, *(np.mean([(r >= t).mean() for r in regions]) for t in thresholds)])
    expected = np.interp(np.linspace(0, FPR_LIMIT, 20001), fpr, overlap).mean()
    assert run(default_evaluator(), data)["pixel_PRO"] == pytest.approx(expected, abs=2e-3)


@pytest.mark.filterwarnings("error:The ``compute`` method of metric ClassCounts")
def test_without_masks_there_are_no_pixel_metrics_and_a_message_states_it(caplog):
    results = run(default_evaluator(), Scores(MIXED, masks=False))
    assert results.keys() == IMAGE
    for name in PIXEL:
        assert f"{name} is left out" in caplog.text
    assert "gt_mask, and the test set has none" in caplog.text


@pytest.mark.parametrize(("labels", "kind"), [([0, 0, 0], "normal"), ([1, 1], "anomalous"), ([1], "anomalous")])
def test_with_images_of_one_kind_there_is_a_warning_and_never_a_number(labels, kind, caplog):
    results = run(default_evaluator(), Scores(labels))
    assert not IMAGE & results.keys()
    reason = f"needs normal and anomalous entries of gt_label, and the test set has only {kind} ones"
    assert f"image_AUROC is left out: it {reason}" in caplog.text
    assert results.keys() == (PIXEL if 1 in labels else set())


def test_a_second_test_starts_anew():
    evaluator = default_evaluator()
    run(evaluator, Scores(MIXED))
    second = Scores([1, 0, 1, 0], seed=5)
    assert run(evaluator, second) == pytest.approx(run(default_evaluator(), second))


def test_a_test_that_omitted_metrics_does_not_affect_the_next():
    evaluator = default_evaluator()
    assert not run(evaluator, Scores([0, 0, 0]))
    second = Scores(MIXED, seed=5)
    assert run(evaluator, second) == pytest.approx(run(default_evaluator(), second))


def test_counts_have_any_shape_and_start_at_zero():
    counts = ClassCounts()
    counts.update(torch.empty(0))
    assert counts.compute().tolist() == [0, 0]
    counts.update(torch.tensor([0, 1, 1]))
    counts.update(torch.tensor([[True, False], [False, False]]))
    assert counts.compute().tolist() == [4, 3]
    counts.reset()
    counts.update(torch.tensor([0]))
    assert counts.compute().tolist() == [1, 0]


def test_only_the_evaluator_reads_labels_and_only_after_scoring():
    evaluator = default_evaluator()
    assert not evaluator.val_metrics
    assert {label for metric in evaluator.test_metrics for label in metric.labels} == IMAGE | PIXEL
    assert {metric.fields[0] for metric in evaluator.test_metrics} == {"pred_score", "anomaly_map"}


def test_a_batch_without_labels_is_no_error():
    evaluator = default_evaluator()
    batch = SimpleNamespace(gt_label=None, gt_mask=None, pred_score=torch.rand(2), anomaly_map=torch.rand(2, 4, 4))
    evaluator.on_test_batch_end(None, None, None, batch, 0)
    assert all(counts.compute().sum() == 0 for counts in evaluator.class_counts.values())


def with_paths(data: Scores, size: int = 4) -> list[ImageBatch]:
    batches = data.batches(size)
    for number, batch in enumerate(batches):
        batch.image_path = [f"{number}/{place}.png" for place in range(len(batch.pred_score))]
    return batches


def test_nan_in_a_map_stops_the_run_at_its_batch_and_names_the_image():
    evaluator, batches = default_evaluator(), with_paths(Scores(MIXED))
    batches[1].anomaly_map[2, 3, 3] = torch.nan
    evaluator.on_test_batch_end(None, None, None, batches[0], 0)
    with pytest.raises(ValueError, match=r"map of image 1/2\.png has NaN"):
        evaluator.on_test_batch_end(None, None, None, batches[1], 1)


def test_a_map_of_another_size_than_its_mask_stops_the_run_and_names_the_image():
    batch = with_paths(Scores(MIXED))[0]
    batch.anomaly_map = batch.anomaly_map[:, :10]
    with pytest.raises(ValueError, match=r"same size.*0/0\.png.*Resize"):
        default_evaluator().on_test_batch_end(None, None, None, batch, 0)


def test_scores_above_1_are_not_squashed():
    data = Scores(MIXED)
    data.scores, data.maps = data.scores * 3 - 1, data.maps * 3 - 1
    plain = run(default_evaluator(), Scores(MIXED), 3)
    assert run(default_evaluator(), data, 3) == pytest.approx(plain, abs=1e-6)


def test_images_without_a_mask_and_empty_masks_are_reported(caplog):
    data = Scores(MIXED)
    data.masks[4] = False
    batches = with_paths(data, 3)
    batches[2].gt_mask = None
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[evaluator := default_evaluator()], enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    (results,) = trainer.test(Shell(evaluator), DataLoader(batches, batch_size=None), verbose=False)
    assert results.keys() == IMAGE | PIXEL
    assert "3 image(s), the first 2/0.png, have no gt_mask and are not in pixel_AUROC" in caplog.text
    assert "1 image(s) labelled anomalous have an empty mask, the first 1/1.png" in caplog.text


def test_intervals_are_logged_on_request():
    results = run(default_evaluator(bootstrap=50, seed=1), Scores(MIXED))
    names = IMAGE | PIXEL
    assert results.keys() == names | {f"{name}_{end}" for name in names for end in ("low", "high")}
    assert all(results[f"{name}_low"] <= results[name] <= results[f"{name}_high"] for name in names)


def test_other_metrics_of_anomalib_can_be_combined_with_them():
    from anomalib.metrics import AUROC as ANOMALIB_AUROC

    from dualclip_lightning.metrics import ZeroShotEvaluator

    fields, data = ["pred_score", "gt_label"], Scores(MIXED)
    results = run(ZeroShotEvaluator(test_metrics=[ANOMALIB_AUROC(fields=fields, prefix="other_")]), data)
    assert results["other_AUROC"] == pytest.approx(run(default_evaluator(), data)["image_AUROC"], abs=1e-6)
