from __future__ import annotations

import open_clip
import pytest
import timm
import torch

from dualclip_lightning.backbone import load_backbone
from dualclip_lightning.backbone.checkpoints import locating
from dualclip_lightning.backbone.encoders.unsupported import check_vision


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    monkeypatch.setattr(locating, "fetch", lambda source: pytest.fail(f"tried to download {source}"))


@pytest.mark.parametrize(
    ("backbone", "tag", "lacks"),
    [
        ("RN50", "openai", "is a ResNet, which has neither patch tokens nor a class token"),
        ("RN50x4", "random", "is a ResNet"),
        ("convnext_base", "laion400m_s13b_b51k", r"timm's ConvNeXt \(convnext_base\), is no plain vision transformer"),
        ("ViT-B-16-SigLIP", "webli", r"timm's VisionTransformer \(vit_base_patch16_siglip_224\), has no class token"),
        ("ViTamin-L", "datacomp1b", r"has no class token"),
        (
            "EVA02-B-16",
            "merged2b_s8b_b131k",
            r"timm's Eva .* a class token, but its attention is timm's EvaAttention",
        ),
        ("MobileCLIP2-L-14", "dfndr2b", "has a class token, but its attention is timm's Attention"),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", "pools its tokens by attention"),
        ("ViT-L-14-CLIPA", "datacomp1b", "pools with 'avg' and does not use its class token"),
    ],
)
def test_the_error_for_an_unsupported_architecture_names_what_it_lacks_before_any_download(backbone, tag, lacks):
    with pytest.raises(ValueError, match=rf"'{backbone}' cannot be used: .*{lacks}.*ViT-B-16-plus-240"):
        load_backbone(backbone, tag)


def test_siglip_has_no_class_token_and_eva_has_one():
    """Check the facts stated in the error messages, on towers that timm builds."""
    with torch.device("meta"):
        assert timm.create_model("vit_base_patch16_siglip_224", pretrained=False).cls_token is None
        assert timm.create_model("eva02_base_patch16_clip_224", pretrained=False).cls_token is not None


@pytest.mark.parametrize("name", ["ViT-B-16-plus-240", "ViT-B-32", "ViT-L-14-336", "ViT-H-14", "ViT-bigG-14-quickgelu"])
def test_plain_towers_are_supported(name):
    check_vision(name, open_clip.get_model_config(name))


def test_a_tower_that_timm_does_not_have_is_named():
    with pytest.raises(ValueError, match="'no_such_tower' of timm, which cannot be built"):
        check_vision("mine", {"vision_cfg": {"timm_model_name": "no_such_tower"}})
