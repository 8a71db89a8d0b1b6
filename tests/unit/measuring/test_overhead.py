from __future__ import annotations

import re

from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.measuring import overhead
from dualclip_lightning.metrics.evaluator import ZeroShotEvaluator


def test_a_run_is_divided_into_the_image_tower_and_the_rest(tiny_folder, capsys, monkeypatch, takes):
    monkeypatch.setattr(overhead, "_now", lambda: sum(takes.passed))
    takes(DualPathVisionEncoder, "forward", 20)
    takes(ZeroShotEvaluator, "on_test_batch_end", 3)
    options = ("--images", "6", "--size", "40", "--batch", "6", "--num-workers", "0")
    overhead.main(["--pretrained", str(tiny_folder), *options])
    assert takes.passed == 2 * [20, 3]  # one batch for warm-up and one that counts
    printed = capsys.readouterr().out
    assert "6 images of 40x40" in printed
    assert re.search(r"whole run\s+23\.0\s+1\.15", printed)
    assert re.search(r"forward\s+20\.0\s+1\.00", printed)
    assert re.search(r"everything else\s+3\.0\s+0\.15", printed)


def test_half_of_the_images_have_a_mask_of_their_size(tmp_path):
    overhead.write_images(tmp_path, 5, 32)
    names = {part: sorted(path.name for path in (tmp_path / part).iterdir()) for part in ("good", "bad", "mask")}
    assert names["good"] == ["0001.png", "0003.png"]
    assert names["bad"] == names["mask"] == ["0000.png", "0002.png", "0004.png"]
