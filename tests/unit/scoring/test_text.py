from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.scoring import state_logits, text_score

NUMBERS = st.floats(-1e3, 1e3, width=32)


def by_hand(embedding: list[float], anchors: list[list[float]], temperature: float) -> float:
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    normal, anomalous = (math.exp(cosine(embedding, anchor) / temperature) for anchor in anchors)
    return anomalous / (normal + anomalous)


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 3, 5)])
def test_is_the_softmax_over_both_cosines_entry_by_entry(shape, temperature, generator):
    embeddings = 5 * torch.randn(*shape, 6, generator=generator)
    anchors = 3 * torch.randn(2, 6, generator=generator)
    scores = text_score(embeddings, anchors, temperature)
    expected = [by_hand(e, anchors.tolist(), temperature) for e in embeddings.reshape(-1, 6).tolist()]
    np.testing.assert_allclose(scores.flatten().numpy(), expected, atol=1e-5)
    assert scores.shape == shape


def test_known_values():
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    embeddings = torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
    assert text_score(embeddings, anchors, 1.0).tolist() == pytest.approx(
        [1 / (1 + math.e), math.e / (1 + math.e), 0.5]
    )
    assert state_logits(embeddings, anchors, 0.5).flatten().tolist() == pytest.approx([2, 0, 0, 2, 2**0.5, 2**0.5])


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 5)], ids=["an embedding an image", "patches", "a grid"])
def test_anchors_of_each_image_apply_only_to_that_image(shape, generator):
    embeddings = torch.randn(*shape, 6, generator=generator)
    anchors = torch.randn(3, 2, 6, generator=generator)
    expected = torch.stack([text_score(e, a, 0.07) for e, a in zip(embeddings, anchors, strict=True)])
    torch.testing.assert_close(text_score(embeddings, anchors, 0.07), expected)


@pytest.mark.slow
@given(arrays(np.float32, (3, 4), elements=NUMBERS), arrays(np.float32, (2, 4), elements=NUMBERS), st.floats(1e-3, 1e3))
def test_stays_in_0_1_for_any_numbers(embeddings, anchors, temperature):
    scores = text_score(torch.from_numpy(embeddings), torch.from_numpy(anchors), temperature)
    assert torch.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@given(st.floats(1e-2, 1e3), st.floats(1e-2, 1e3))
def test_depends_only_on_directions(stretch, stretch_anchors):
    embeddings, anchors = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), torch.eye(4)[:2]
    expected = text_score(embeddings, anchors, 0.07)
    torch.testing.assert_close(text_score(stretch * embeddings, stretch_anchors * anchors, 0.07), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_precision(dtype, generator):
    embeddings = torch.randn(4, 5, 64, generator=generator).to(dtype)
    anchors = torch.randn(2, 64, generator=generator).to(dtype)
    scores = text_score(embeddings, anchors, 0.01)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, text_score(embeddings.float(), anchors.float(), 0.01))


def test_the_probabilities_of_both_states_sum_to_one(generator):
    embeddings, anchors = torch.randn(9, 8, generator=generator), torch.randn(2, 8, generator=generator)
    torch.testing.assert_close(
        text_score(embeddings, anchors, 0.07) + text_score(embeddings, anchors.flip(0), 0.07), torch.ones(9)
    )
