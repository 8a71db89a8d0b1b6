"""AnoCLIP's adaptation, compared with numbers of the published implementation."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from dualclip_lightning.adaptation.anoclip import adapt_to_noise, apply_text_adapter, enlarge_tiles
from dualclip_lightning.adaptation.dual_image import apply_adapter
from dualclip_lightning.scoring import state_logits


@pytest.fixture
def vectors(golden):
    return golden("noise_tta")


def _inputs(vectors):
    """Return tokens, noise, weight and bias for a batch of one."""
    return vectors["in.tokens"], vectors["in.noise"], vectors["in.weight"][None], vectors["in.bias"][None]


def _run(vectors, tokens, noise, weight, bias, **settings):
    texts = vectors["in.text_embeddings"]
    apply = partial(apply_text_adapter, texts=texts.flatten(0, 1))
    return adapt_to_noise(tokens, [noise] * 5, texts.mean(dim=1), apply, (weight, bias), **settings)


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


def test_in_a_batch_with_other_images_an_image_still_has_the_published_numbers(vectors):
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


def _visa(vectors, prefix="", **settings):
    """Run the form for VisA on a recorded image, as a batch of one."""
    tokens, noise, weight, bias = (
        vectors[f"in.{prefix}{name}"][None] for name in ("tokens", "noise", "weight", "bias")
    )
    enlarge = partial(enlarge_tiles, size=tuple(vectors["in.map_size"].tolist()))
    apply, rate = partial(apply_adapter, residual=0.5), float(vectors["in.learning_rate"])
    steps = noise.unbind(dim=1)
    return adapt_to_noise(
        tokens, steps, vectors["in.anchors"].T, apply, (weight, bias), 1.0, rate, enlarge=enlarge, **settings
    )


def _assert_published(vectors, prefix, similarity, adapted):
    found = {
        "losses": adapted.losses[:, 0],
        "weight": adapted.parameters[0][0],
        "bias": adapted.parameters[1][0],
        "similarity": similarity[0],
    }
    for name, value in found.items():
        assert torch.allclose(value, vectors[f"out.{prefix}{name}"], rtol=0, atol=1e-5), name


@pytest.mark.parametrize("context", [nullcontext, torch.inference_mode])
def test_losses_adapter_and_scores_are_the_published_ones_for_visa(golden, context):
    vectors = golden("anovl_visa")
    with context():
        _assert_published(vectors, "", *_visa(vectors))


def test_a_second_image_of_visa_starts_with_the_optimizer_of_the_first(golden):
    vectors, memory = golden("anovl_visa"), {}
    _assert_published(vectors, "", *_visa(vectors, memory=memory))
    _assert_published(vectors, "carried.", *_visa(vectors, "carried.", memory=memory))


def test_the_loss_for_visa_reads_the_pixels_of_both_tiles(golden):
    vectors = golden("anovl_visa")
    tokens, noise, weight, bias = (vectors[f"in.{name}"] for name in ("tokens", "noise", "weight", "bias"))
    both = torch.stack([tokens, tokens + noise[0]])
    adapted = apply_adapter(both, weight.expand(2, -1, -1), bias.expand(2, -1), residual=0.5)
    logits = state_logits(adapted, vectors["in.anchors"].T, 1.0)
    found = enlarge_tiles(logits, tuple(vectors["in.map_size"].tolist())).softmax(dim=-1)
    assert torch.allclose(found, vectors["out.step0_probabilities"], rtol=0, atol=1e-5)
