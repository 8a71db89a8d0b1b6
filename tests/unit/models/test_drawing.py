"""The default drawing of each method's maps."""

from __future__ import annotations

from dataclasses import astuple
from importlib import import_module

import pytest
import torch

from dualclip_lightning.models import DualImageCLIP
from dualclip_lightning.predict.limits import DRAWING_NAMES
from dualclip_lightning.registry import MODELS
from dualclip_lightning.scoring import DRAWINGS
from tests.towers import random_images

RELEASED = {
    "AnoCLIP": (3, True, 0.0, None),  # hq-deng/AnoVL, vl_test.py
    "ClipAD": (1, False, 8.0, None),  # ByChelsea/CLIP-AD, test.py and util/surgery.py
    "ClipZeroShot": (1, False, 0.0, None),  # no released code; plain drawing
    "DualImageCLIP": (3, True, 0.0, None),  # keeps AnoCLIP's architecture
    "MuSc": (1, True, 0.0, None),  # xrli-U/MuSc, models/musc.py
    "PatchMemory": (1, False, 4.0, None),  # dammsi/AnomalyDINO, src/utils.py
    "SubspaceAD": (1, False, 4.0, 1),  # CLendering/SubspaceAD, post_process/scoring.py
    "WindowCLIP": (1, False, 0.0, None),  # zqhang/Accurate-WinCLIP-pytorch and caoyunkang/WinClip
}
"""Side of the average, whether corners are aligned, sigma, and its radius, with the source of each."""


@pytest.mark.parametrize("name", MODELS)
def test_every_method_draws_as_its_released_code(name, tiny_folder):
    method = getattr(import_module(MODELS[name]), name)(pretrained=str(tiny_folder), visualizer=False)
    assert astuple(method.model.drawing) == RELEASED[name]
    assert method.provenance()["drawing"] == dict(
        zip(("average", "align_corners", "sigma", "radius"), RELEASED[name], strict=True)
    )


def test_the_command_line_offers_every_drawing_with_the_methods_own_first():
    assert sorted(DRAWING_NAMES) == sorted(DRAWINGS)
    assert astuple(DRAWINGS[DRAWING_NAMES[0]]) == RELEASED["DualImageCLIP"]


@torch.no_grad()
def test_the_image_score_of_dual_image_clip_does_not_depend_on_the_drawing(tiny_folder):
    outputs = []
    for drawing in ("anoclip", "winclip", {"sigma": 9}):
        method = DualImageCLIP(pretrained=str(tiny_folder), drawing=drawing, visualizer=False).eval()
        method.set_class_name("screw")
        outputs.append(method.model(random_images(4)))
    assert all(torch.equal(output.pred_score, outputs[0].pred_score) for output in outputs)
    assert len({float(output.anomaly_map.max()) for output in outputs}) == 3
