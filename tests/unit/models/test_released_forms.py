"""Parameters that select the form of the released codes take effect in every method that has them."""

from __future__ import annotations

import pytest
import torch

from dualclip_lightning import AnoCLIP, ClipZeroShot, DualImageCLIP, WinCLIP
from dualclip_lightning.prompts import prompt_ensemble
from dualclip_lightning.prompts.anchors import compute_anchors


@pytest.mark.parametrize("method", [AnoCLIP, ClipZeroShot, DualImageCLIP, WinCLIP])
@pytest.mark.parametrize("mean", [None, "raw", "unit"])
def test_text_anchors_use_the_requested_mean(tiny_folder, method, mean):
    chosen = {} if mean is None else {"text_mean": mean}
    built = method(pretrained=str(tiny_folder), class_name="screw", visualizer=False, **chosen)
    built.set_class_name("screw")
    default = "unit" if method is ClipZeroShot else "raw"  # as in CLIP's own classifiers
    expected = compute_anchors(built.backbone, prompt_ensemble("screw", wording=method.wording), mean or default)
    torch.testing.assert_close(built.model.anchors, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", [AnoCLIP, ClipZeroShot, DualImageCLIP, WinCLIP])
def test_another_mean_is_refused_before_weights_are_loaded(method):
    with pytest.raises(ValueError, match="Expected text_mean to be 'raw' or 'unit', but got 'norm'"):
        method(pretrained="no/such/folder", text_mean="norm")
