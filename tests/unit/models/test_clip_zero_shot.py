from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning import ClipZeroShot
from dualclip_lightning.prompts import prompt_ensemble
from tests.towers import SIZE, random_images


@torch.no_grad()
def test_scores_and_maps_are_those_computed_with_open_clip(tiny_folder):
    method = ClipZeroShot(pretrained=str(tiny_folder), class_name="screw", visualizer=False)
    method.set_class_name("screw")
    clip, tokenizer = method.backbone.clip, method.backbone.tokenizer
    anchors = []
    for sentences in prompt_ensemble("screw"):
        embeddings = clip.encode_text(tokenizer(list(sentences)), normalize=True)
        anchors.append(F.normalize(embeddings.mean(dim=0), dim=0))
    visual, images = deepcopy(clip.visual), random_images(3)
    visual.output_tokens = True
    pooled, tokens = visual(images)
    similar = [(F.normalize(x, dim=-1) @ torch.stack(anchors).T * 100).softmax(-1)[..., 1]
               for x in (pooled, tokens @ visual.proj)]  # fmt: skip
    output = method.model(images)
    torch.testing.assert_close(output.pred_score, similar[0], atol=1e-5, rtol=0)
    maps = F.interpolate(similar[1].view(3, 1, 3, 3), size=(SIZE, SIZE), mode="bilinear")[:, 0]
    torch.testing.assert_close(output.anomaly_map, maps, atol=1e-5, rtol=0)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        ClipZeroShot(temperature=0)
