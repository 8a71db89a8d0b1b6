"""AnoCLIP's adaptation against the published implementation's numbers."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from dualclip_lightning.adaptation.anoclip import adapt_to_noise


@pytest.fixture
def vectors(golden):
    return golden("noise_tta")


def _inputs(vectors):
    """Tokens, noise, weight and bias of a batch of one."""
    return vectors["in.tokens"], vectors["in.noise"], vectors["in.weight"][None], vectors["in.bias"][None]


def _run(vectors, tokens, noise, weight, bias, **settings):
    return adapt_to_noise(tokens, [noise] * 5, vectors["in.text_embeddings"], (weight, bias), **settings)


@pytest.mark.parametrize("context", [nullcontext, torch.no_grad, torch.inference_mode])
def test_losses_adapter_and_scores_are_the_published_ones(vectors, context):
    tokens, noise, weight, bias = _inputs(vectors)
    with context():
        probability, adapted = _run(vectors, tokens.clone(), noise.clone(), weight, bias)
    found = {
        "losses": adapted.losses[:, 0],
        "weight": adapted.parameters[0][0],
        "bias": adapted.parameters[1][0],
        "anomaly_probability": probability,
    }
    for name, value in found.items():
        assert torch.allclose(value, vectors[f"out.{name}"], rtol=0, atol=1e-5), name


def test_among_unlike_neighbours_an_image_still_has_the_published_numbers(vectors):
    values = _inputs(vectors)
    generator = torch.Generator().manual_seed(2)
    neighbours = [torch.randn(3, *value.shape[1:], generator=generator) for value in values]
    batch = [torch.cat([other[:2], value, other[2:]]) for value, other in zip(values, neighbours, strict=True)]
    probability, adapted = _run(vectors, *batch)
    assert torch.allclose(probability[2], vectors["out.anomaly_probability"][0], rtol=0, atol=1e-5)
    assert torch.allclose(adapted.losses[:, 2], vectors["out.losses"], rtol=0, atol=1e-5)
    assert not torch.allclose(probability[0], probability[2], atol=1e-2)


def test_a_rate_that_diverges_is_named(vectors):
    with pytest.raises(FloatingPointError, match=r"Lower its learning rate, which is 1e\+38"):
        _run(vectors, *_inputs(vectors), learning_rate=1e38)
