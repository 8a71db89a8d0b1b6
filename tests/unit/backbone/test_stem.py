"""The convolutional stem: the contents of its tokens, and loading a folder of weights with a stem."""

import json

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import CLIP
from safetensors.torch import save_file

from dualclip_lightning.backbone import DualPathVisionEncoder, load_backbone
from dualclip_lightning.backbone.stem import ConvStem, add_stem
from dualclip_lightning.weights import WeightsError

MODEL, WIDTH, KEPT = "tf_efficientnet_lite0", 144, 112
CONFIG = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "patch_size": 16, "width": WIDTH, "layers": 2, "head_width": 48},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
    "stem_cfg": {"model": MODEL, "stages": [2, 3]},
    "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"},
}


@pytest.fixture(scope="module")
def stem():
    torch.manual_seed(0)
    stem = ConvStem(MODEL, (2, 3), WIDTH).eval()
    stem[0].mean.normal_()
    stem[0].std.uniform_(0.5, 2)
    return stem


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("stem")
    clip = add_stem(CLIP(**CONFIG["model_cfg"]), CONFIG["stem_cfg"])
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    return folder


@torch.no_grad()
def test_the_last_channels_are_the_networks_own_map(stem):
    """Compare with the feature maps of timm's whole network, averaged over neighbours."""
    images = torch.randn(2, 3, 64, 96)
    whole = timm.create_model(MODEL, pretrained=False).eval()
    whole.load_state_dict(stem[0].network.state_dict(), strict=False)
    seen = whole.forward_intermediates(images, indices=[3], intermediates_only=True)[0]
    own = (seen - stem[0].mean[-KEPT:]) / stem[0].std[-KEPT:]
    expected = np.zeros_like(own.numpy())
    for row in range(4):
        for column in range(6):
            near = own[:, :, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            expected[:, :, row, column] = near.mean((2, 3)).numpy()
    np.testing.assert_allclose(stem(images)[:, -KEPT:].numpy(), expected, atol=1e-4)


@torch.no_grad()
def test_the_first_channels_see_every_stage(stem):
    images = torch.randn(1, 3, 64, 64)
    fine, coarse = stem[0].network.forward_intermediates(images, indices=[2, 3], intermediates_only=True)
    joined = torch.cat([F.avg_pool2d(fine, 2), coarse], dim=1)
    joined = (joined - stem[0].mean) / stem[0].std
    expected = torch.einsum("oc,bchw->bohw", stem[1].project.weight[:, :, 0, 0], joined)
    expected += stem[1].project.bias[:, None, None]
    torch.testing.assert_close(stem(images)[:, :-KEPT], expected, atol=1e-4, rtol=1e-4)


def test_a_narrow_token_is_refused():
    with pytest.raises(ValueError, match=r"Tokens of 112 channels cannot hold the 112 .* Set a larger width"):
        ConvStem(MODEL, (2, 3), KEPT)


@torch.no_grad()
def test_a_folder_with_a_stem_is_loaded(folder):
    backbone = load_backbone(pretrained=str(folder))
    clip = add_stem(CLIP(**CONFIG["model_cfg"]), CONFIG["stem_cfg"]).eval()
    clip.load_state_dict(backbone.clip.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(backbone.visual(images), clip.visual(images))
    assert backbone.preprocessing.size == (64, 64)
    assert not any(parameter.requires_grad for parameter in backbone.clip.parameters())
    assert not backbone.visual.conv1.training


@torch.no_grad()
def test_the_class_token_is_open_clips_own(folder):
    """Compare the encoder, which runs the blocks itself, with open_clip's forward on the same stem."""
    visual = load_backbone(pretrained=str(folder)).visual
    images = torch.randn(2, 3, 64, 64)
    encoder = DualPathVisionEncoder(visual)
    torch.testing.assert_close(encoder(images).class_embedding, visual(images), atol=1e-5, rtol=1e-4)
    assert encoder(torch.randn(1, 3, 96, 128)).patch_embeddings.shape == (1, 6, 8, 32)


def test_weights_that_do_not_fit_say_what_to_check(folder, tmp_path):
    narrow = json.loads((folder / "open_clip_config.json").read_text())
    narrow["model_cfg"]["embed_dim"] = 16
    (tmp_path / "open_clip_config.json").write_text(json.dumps(narrow))
    (tmp_path / "open_clip_model.safetensors").write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"Cannot load the weights .*Check that the file is complete"):
        load_backbone(pretrained=str(tmp_path))
