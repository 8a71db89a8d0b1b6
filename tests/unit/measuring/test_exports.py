from __future__ import annotations

import numpy as np
import pytest
import torch

from dualclip_lightning import Detector
from dualclip_lightning.measuring import exports
from tests.towers import shallow_folder

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
pytest.importorskip("openvino", reason="the extra `openvino` is not installed")


def test_all_variants_do_the_same_work_on_the_same_images_and_have_a_row(tmp_path, capsys, monkeypatch):
    references = list(exports.random_images(2, 40, seed=1).numpy())
    detector = Detector(
        "plate", pretrained=str(shallow_folder()), reference_dir=references, geometry="squash", device="cpu"
    )
    detector.threshold = 0.5
    detector.save(tmp_path / "plate.dualclip")
    computed, time_steps, exported = [], exports.time_steps, {}

    def time_once(steps, images, rounds):
        computed.append([step(images) for step in steps.values()])
        return time_steps(steps, images, rounds)

    def run(path):
        def give(batch):
            with torch.no_grad():
                return [each.numpy() for each in exported[path.name](torch.from_numpy(batch))]

        return give

    monkeypatch.setattr(exports, "time_steps", time_once)
    # That files compute what the graph does is tested where they are written.
    monkeypatch.setattr(
        "dualclip_lightning.predict.detector.export_graph",
        lambda graph, _, path, **__: exported.update({path.name: graph}),
    )
    monkeypatch.setattr(exports, "load", run)
    exports.main(["--bundle", str(tmp_path / "plate.dualclip"), "--batch", "1", "3", "--side", "40", "--rounds", "1"])
    printed = capsys.readouterr().out
    for words in ("PyTorch (Detector)", "onnxruntime", "OpenVINO", "batch 3: ratio", "40x40 pixels"):
        assert words in printed
    for count, (first, *others) in zip((1, 3), computed, strict=True):
        scores, decisions, maps = zip(*first, strict=True)
        assert len(scores) == count
        assert len(others) == len(exported) == 2
        for found in others:
            np.testing.assert_allclose(found[0], scores, atol=1e-4)
            np.testing.assert_allclose(found[1], np.stack(maps), atol=1e-4)
            assert [("anomalous" if each else "normal") for each in found[2]] == list(decisions)
