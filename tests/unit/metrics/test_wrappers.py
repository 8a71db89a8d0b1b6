from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.metrics import Evaluator
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from dualclip_lightning.metrics import AP, AUROC, PRO, F1Max
from dualclip_lightning.metrics.wrappers import BatchPixelMetrics
from tests.unit.metrics import references

IMAGE, PIXEL = ["pred_score", "gt_label"], ["anomaly_map", "gt_mask"]
SINGLE = {"auroc": AUROC, "ap": AP, "f1max": F1Max, "pro": PRO}


@pytest.fixture(scope="module")
def batches() -> list[ImageBatch]:
    maps, masks = (torch.from_numpy(array) for array in references.maps_and_masks(images=10))
    return [
        ImageBatch(
            image=torch.zeros(len(part), 3, 32, 32), gt_label=masks[part].flatten(1).any(1), gt_mask=masks[part],
            pred_score=maps[part].flatten(1).amax(1), anomaly_map=maps[part],
            image_path=[f"{int(i)}.png" for i in part],
        )
        for part in torch.arange(10).split(4)
    ]  # fmt: skip


def joined(batches, field) -> torch.Tensor:
    return torch.cat([getattr(batch, field) for batch in batches]).numpy()


class Shell(LightningModule):
    def __init__(self, evaluator: Evaluator) -> None:
        super().__init__()
        self.evaluator = evaluator

    def test_step(self, batch):
        return batch


def test_single_metrics_work_in_the_evaluator_of_anomalib(batches):
    metrics = [kind(fields=PIXEL, prefix="pixel_") for kind in SINGLE.values()]
    metrics += [SINGLE[name](fields=IMAGE, prefix="image_") for name in ("auroc", "ap", "f1max")]
    evaluator = Evaluator(test_metrics=metrics)
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[evaluator], enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    (found,) = trainer.test(Shell(evaluator), DataLoader(batches, batch_size=None), verbose=False)
    pixel = references.every(joined(batches, "anomaly_map"), joined(batches, "gt_mask"))
    image = references.ranked(joined(batches, "pred_score"), joined(batches, "gt_label"))
    expected = {f"pixel_{SINGLE[name].__name__}": value for name, value in pixel.items()}
    expected |= {f"image_{SINGLE[name].__name__}": value for name, value in image.items()}
    assert found == pytest.approx(expected, abs=1e-6)


def test_errors_name_the_image_of_the_batch(batches):
    broken = ImageBatch(
        image=torch.zeros(2, 3, 4, 4), gt_label=torch.tensor([0, 1]), gt_mask=torch.zeros(2, 4, 4).bool(),
        anomaly_map=torch.zeros(2, 4, 4).index_fill(0, torch.tensor([1]), torch.nan),
        pred_score=torch.zeros(2), image_path=["good/0.png", "bad/1.png"],
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"image bad/1\.png has NaN"):
        PRO(fields=PIXEL).update(broken)


def test_a_field_that_is_missing_is_an_error_or_skipped():
    batch = SimpleNamespace(anomaly_map=torch.rand(2, 4, 4), gt_mask=None)
    with pytest.raises(ValueError, match="gt_mask"):
        AUROC(fields=PIXEL).update(batch)
    lenient = AUROC(fields=PIXEL, strict=False)
    lenient.update(batch)
    assert lenient.compute() is None


def test_pro_of_images_is_refused_with_the_remedy(batches):
    with pytest.raises(ValueError, match=r'Set `fields=\["anomaly_map", "gt_mask"\]`'):
        PRO(fields=IMAGE).update(batches[0])


@pytest.mark.parametrize("kind", SINGLE.values())
@pytest.mark.parametrize("fields", [IMAGE, PIXEL])
def test_a_single_metric_refuses_intervals_in_its_constructor_and_names_those_that_have_them(kind, fields):
    with pytest.raises(ValueError, match=f"no `bootstrap` for {kind.__name__}, .*ImageMetrics or PixelMetrics"):
        kind(fields=fields, bootstrap=10)


def test_a_group_has_the_names_of_the_tables_and_of_its_intervals(batches):
    metric = BatchPixelMetrics(prefix="pixel_", bootstrap=20, pro_200=True)
    for batch in batches:
        metric.update(batch)
    assert metric.labels == ["pixel_AUROC", "pixel_AP", "pixel_F1Max", "pixel_PRO", "pixel_PRO200"]
    found = metric.labelled(metric.compute())
    assert set(metric.labels) < found.keys()
    assert found["pixel_PRO_low"] < found["pixel_PRO"] < found["pixel_PRO_high"]
