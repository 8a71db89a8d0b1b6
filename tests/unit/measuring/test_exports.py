from __future__ import annotations

import numpy as np
import pytest

from dualclip_lightning.measuring import exports

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
pytest.importorskip("openvino", reason="the extra `openvino` is not installed")


@pytest.mark.slow
def test_all_variants_do_the_same_work_on_the_same_images(tmp_path, tiny_folder):
    from dualclip_lightning import Detector

    references = list(exports.random_images(2, 40, seed=1).numpy())
    arguments = {"pretrained": str(tiny_folder), "device": "cpu", "geometry": "squash", "threshold": 0.5}
    detector = Detector("plate", reference_dir=references, **arguments)
    detector.save(tmp_path / "plate.dualclip")
    images = exports.random_images(3, 40)
    first, *others = (step(images) for step in exports.build_steps(detector, tmp_path).values())
    scores, decisions, maps = zip(*first, strict=True)
    assert len(others) == 2
    for found in others:
        np.testing.assert_allclose(found[0], scores, atol=1e-4)
        np.testing.assert_allclose(found[1], np.stack(maps), atol=1e-4)
        assert [("anomalous" if each else "normal") for each in found[2]] == list(decisions)


@pytest.mark.slow
def test_the_table_has_a_row_for_each_runtime(tmp_path, tiny_folder, capsys):
    from dualclip_lightning import Detector

    references = list(exports.random_images(2, 40, seed=1).numpy())
    detector = Detector("plate", pretrained=str(tiny_folder), reference_dir=references, geometry="squash", device="cpu")
    detector.threshold = 0.5
    detector.save(tmp_path / "plate.dualclip")
    exports.main(["--bundle", str(tmp_path / "plate.dualclip"), "--batch", "1", "2", "--side", "40", "--rounds", "1"])
    printed = capsys.readouterr().out
    for words in ("PyTorch (Detector)", "onnxruntime", "OpenVINO", "batch 2: ratio", "40x40 pixels"):
        assert words in printed
