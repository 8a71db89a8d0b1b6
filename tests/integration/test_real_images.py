"""Photographs of real defects, not square and of several sizes; skipped unless a variable gives their folder."""

from __future__ import annotations

import pytest
from anomalib.engine import Engine
from lightning.pytorch import Callback

from dualclip_lightning.models import DualImageCLIP
from tests.real_images import folder_datamodule

METRICS = {f"image_{name}" for name in ("AUROC", "F1Max", "AP")} | {
    f"pixel_{name}" for name in ("AUROC", "F1Max", "PRO", "AP")
}


class Scores(Callback):
    """Callback that records scores by path."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}

    def on_test_batch_end(self, _trainer, _module, _outputs, batch, *_):
        self.scores |= {
            path.rsplit("/", 1)[-1]: float(s) for path, s in zip(batch.image_path, batch.pred_score, strict=True)
        }


def _run(name, root, batch_size, **arguments):
    record = Scores()
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=root, callbacks=[record])
    method = DualImageCLIP(pretrained="demo", class_name="part", visualizer=False, **arguments)
    (metrics,) = engine.test(method, datamodule=folder_datamodule(name, root / "data", 6, batch_size), verbose=False)
    return metrics, record.scores


CASES = [
    ("bsdata", {}), ("bsdata", {"image_size": [80, 160], "num_references": 2}), ("kolektorsdd", {}),
    ("kolektorsdd", {"tta": True}),
]  # fmt: skip
"""Each data set, and each setting with one of them."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_every_metric_exists_and_the_batch_size_changes_no_score(name, arguments, tmp_path):
    metrics, scores = _run(name, tmp_path / "a", 8, **arguments)
    _, others = _run(name, tmp_path / "b", 3, **arguments)
    assert metrics.keys() == METRICS
    assert all(0 <= value <= 1 for value in metrics.values())
    assert len(scores) == 12
    assert scores == pytest.approx(others, abs=1e-5)
