from __future__ import annotations

import pytest
import torch

from dualclip_lightning.scoring import draw, feature_surgery

EXACT = {"atol": 1e-5, "rtol": 0}


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values / values.square().sum(-1, keepdim=True).sqrt()


def plain_surgery(stages: list[torch.Tensor], anchors: torch.Tensor) -> torch.Tensor:
    """Compute token by token as in the paper: weighted element-wise products minus their mean over the states."""
    result = torch.zeros(*stages[0].shape[:2], 2)
    for tokens in stages:
        for b, image in enumerate(tokens):
            weight = torch.stack([image[0] @ anchors[b, s] for s in range(2)]).exp()
            weight = weight / weight.sum()
            weight = weight / weight.mean()
            for t, token in enumerate(image):
                products = [weight[s] * token * anchors[b, s] for s in range(2)]
                common = (products[0] + products[1]) / 2
                result[b, t] += torch.stack([(product - common).sum() for product in products])
    return result


def test_reproduces_the_recorded_similarity_map_and_image_score(golden):
    vectors = golden("staged_similarity")
    stages, anchors = [vectors[f"in.stage{i}"] for i in range(4)], vectors["in.text"].transpose(1, 2)
    similarity = feature_surgery(stages, anchors)
    torch.testing.assert_close(similarity, vectors["out.similarity"], **EXACT)
    for state in range(2):
        drawn = draw(similarity[:, 1:, state].unflatten(1, (5, 5)), (80, 80))
        torch.testing.assert_close(drawn, vectors["out.map"][..., state], **EXACT)


def test_equals_the_plain_formula():
    stages, anchors = [unit(2, 5, 8, seed=i) for i in range(3)], unit(2, 2, 8, seed=9)
    torch.testing.assert_close(feature_surgery(stages, anchors), plain_surgery(stages, anchors), **EXACT)


def test_length_has_no_influence_and_anchors_may_be_shared():
    stages, anchors = [unit(3, 5, 8, seed=i) for i in range(2)], unit(2, 8, seed=9)
    expected = feature_surgery(stages, anchors.expand(3, 2, 8))
    torch.testing.assert_close(feature_surgery([7 * tokens for tokens in stages], 3 * anchors), expected, **EXACT)


def test_the_states_are_each_others_negative_within_the_number_of_stages():
    anchors = unit(1, 2, 8)
    stages = [anchors[:, [1, 1, 0]]] * 4
    similarity = feature_surgery(stages, anchors)
    torch.testing.assert_close(similarity[..., 0], -similarity[..., 1], **EXACT)
    assert similarity.abs().max() <= 4
    assert similarity[0, 1, 1] > similarity[0, 2, 1]


def test_half_precision_tokens_are_scored_in_single_precision():
    stages, anchors = [unit(1, 3, 8).bfloat16()], unit(1, 2, 8)
    assert feature_surgery(stages, anchors).dtype == torch.float32


def test_no_stage_is_an_error():
    with pytest.raises(ValueError, match="at least one stage"):
        feature_surgery([], unit(1, 2, 8))
