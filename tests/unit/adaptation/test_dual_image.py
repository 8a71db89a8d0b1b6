"""Dual-Image CLIP's adapter: the batched loop, compared with a plain loop over the images."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.adaptation import AdaptationInputs, AdaptationSettings, adapt_to_pseudo_anomalies
from dualclip_lightning.adaptation.dual_image import apply_adapter, identity_adapter
from dualclip_lightning.scoring import text_score

SETTINGS = AdaptationSettings(steps=3, learning_rate=0.01, weight_decay=0.02, residual=0.3, anomaly_weight=0.7,
                              consistency_weight=1.3)  # fmt: skip


def _inputs(batch=3, grid=(2, 4), width=8):
    generator = torch.Generator().manual_seed(1)
    patches, copies = (3 * torch.randn(batch, *grid, width, generator=generator) for _ in range(2))
    targets = torch.rand(batch, *grid, generator=generator) > 0.6
    targets[:, 0, 0], targets[:, 1, 1] = True, False
    joint = torch.rand(batch, *grid, generator=generator)
    return AdaptationInputs(patches, copies, targets, joint, torch.randn(2, width, generator=generator), 0.5)


def _one_image(inputs, i, settings):
    """Compute equations 7 to 11 for one image with PyTorch's linear layer and AdamW."""
    anchors, tau, rho = F.normalize(inputs.anchors, dim=-1), inputs.temperature, settings.residual
    original, copy = (p[i].flatten(0, 1) for p in (inputs.patches, inputs.pseudo_patches))
    if settings.blend == "unit":
        original, copy = (p / p.norm(dim=-1, keepdim=True) for p in (original, copy))
    layer = torch.nn.Linear(original.shape[-1], original.shape[-1])
    with torch.no_grad():
        layer.weight.copy_(torch.eye(original.shape[-1]))
        layer.bias.zero_()

    def probabilities(x):
        mixed = (1 - rho) * x + rho * layer(x / x.norm(dim=-1, keepdim=True))
        return (F.normalize(mixed, dim=-1) @ anchors.T / tau).softmax(-1)[:, 1]

    optimizer = torch.optim.AdamW(layer.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    for _ in range(settings.steps):
        anomaly = -probabilities(copy)[inputs.targets[i].flatten()].log().mean()
        consistency = ((probabilities(original) - inputs.joint_map[i].flatten()) ** 2).mean()
        loss = settings.anomaly_weight * anomaly + settings.consistency_weight * consistency
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probabilities(original).detach().view(inputs.patches.shape[1:3])


@pytest.mark.parametrize("blend", ["raw", "unit"])
def test_a_batch_gives_the_numbers_of_a_loop_over_images(blend):
    inputs, settings = _inputs(), replace(SETTINGS, blend=blend)
    maps, _ = adapt_to_pseudo_anomalies(inputs, settings)
    slow = torch.stack([_one_image(inputs, i, settings) for i in range(3)])
    assert torch.allclose(maps, slow, atol=1e-5)


def test_the_default_is_the_adapter_that_the_authors_group_has_released(golden):
    vectors, settings = golden("anovl_visa"), AdaptationSettings()
    assert (settings.blend, settings.residual) == ("raw", 0.5)
    tokens, weight, bias = (vectors[f"in.{name}"] for name in ("tokens", "weight", "bias"))
    adapted = apply_adapter(tokens[None], weight[None], bias[None], settings.residual)[0]
    assert torch.allclose(adapted, vectors["out.adapter_forward"], rtol=0, atol=1e-5)


def test_long_embeddings_change_less_unless_unit_vectors_are_blended():
    inputs, moved = _inputs(), {}
    inputs = inputs._replace(patches=10 * inputs.patches, pseudo_patches=10 * inputs.pseudo_patches)
    plain = text_score(inputs.patches, inputs.anchors, inputs.temperature)
    for blend in ("raw", "unit"):
        maps, _ = adapt_to_pseudo_anomalies(inputs, replace(SETTINGS, blend=blend))
        moved[blend] = float((maps - plain).abs().mean())
    assert 0 < moved["raw"] < moved["unit"] / 5


def test_an_image_does_not_depend_on_its_batch():
    inputs = _inputs()
    together, _ = adapt_to_pseudo_anomalies(inputs, SETTINGS)
    parts = [value[1:2] for value in inputs[:4]]
    alone, _ = adapt_to_pseudo_anomalies(AdaptationInputs(*parts, *inputs[4:]), SETTINGS)
    assert torch.allclose(alone[0], together[1], atol=1e-6)


@torch.inference_mode()
def test_at_the_size_of_the_paper_an_image_has_the_same_map_alone_and_in_a_batch():
    inputs = _inputs(batch=3, grid=(15, 15), width=640)
    together, _ = adapt_to_pseudo_anomalies(inputs, AdaptationSettings())
    for i in range(3):
        parts = [value[i : i + 1] for value in inputs[:4]]
        alone, _ = adapt_to_pseudo_anomalies(AdaptationInputs(*parts, *inputs[4:]), AdaptationSettings())
        assert torch.allclose(alone[0], together[i], rtol=0, atol=1e-5)


def test_the_start_changes_nothing():
    inputs = _inputs()
    start = identity_adapter(3, 8, torch.device("cpu"))
    started = apply_adapter(inputs.patches, *start, residual=0.3)
    assert torch.allclose(F.normalize(started, dim=-1), F.normalize(inputs.patches, dim=-1), atol=1e-6)
    unadapted, _ = adapt_to_pseudo_anomalies(inputs, AdaptationSettings(steps=0))
    assert torch.allclose(unadapted, text_score(inputs.patches, inputs.anchors, inputs.temperature), atol=1e-6)


def test_the_loss_falls():
    _, adapted = adapt_to_pseudo_anomalies(_inputs(), AdaptationSettings(steps=20, learning_rate=0.01))
    assert adapted.losses.shape == (20, 3)
    assert (adapted.losses[-1] < adapted.losses[0]).all()


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad, nullcontext,
                                     lambda: torch.autocast("cpu", dtype=torch.bfloat16)])  # fmt: skip
def test_the_result_is_the_same_wherever_lightning_tests(context):
    expected, _ = adapt_to_pseudo_anomalies(_inputs(), SETTINGS)
    with context():
        inputs = _inputs()
        maps, _ = adapt_to_pseudo_anomalies(inputs, SETTINGS)
    assert torch.allclose(maps, expected, atol=1e-6)
    assert not maps.requires_grad


def test_only_adapters_get_gradients():
    inputs = _inputs()
    tensors = {name: value for name, value in inputs._asdict().items() if torch.is_tensor(value)}
    floats = {name: value.requires_grad_() for name, value in tensors.items() if value.is_floating_point()}
    leaves = inputs._replace(**floats)
    maps, adapted = adapt_to_pseudo_anomalies(leaves, SETTINGS)
    assert all(v.grad is None for v in leaves if torch.is_tensor(v))
    assert not maps.requires_grad
    assert not any(p.requires_grad for p in adapted.parameters)


def test_half_precision_inputs_are_adapted_in_single_precision():
    inputs = _inputs()
    halves = inputs._replace(patches=inputs.patches.half(), pseudo_patches=inputs.pseudo_patches.half())
    maps, adapted = adapt_to_pseudo_anomalies(halves, SETTINGS)
    exact, _ = adapt_to_pseudo_anomalies(inputs, SETTINGS)
    assert maps.dtype == torch.float32
    assert adapted.parameters[0].dtype == torch.float32
    assert torch.allclose(maps, exact, atol=5e-3)


@pytest.mark.parametrize(("steps", "rate"), [(1, 1e38), (2, 1e30), (5, 1e38)])
def test_a_rate_that_diverges_is_named_even_where_only_the_last_step_shows_it(steps, rate):
    with pytest.raises(FloatingPointError, match=re.escape(f"Lower its learning rate, which is {rate}.")):
        adapt_to_pseudo_anomalies(_inputs(), AdaptationSettings(steps=steps, learning_rate=rate))


def test_embeddings_that_are_not_finite_are_not_blamed_on_the_learning_rate():
    inputs = _inputs()
    inputs.patches[1, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="check images and weights for NaN, or use precision bf16-mixed"):
        adapt_to_pseudo_anomalies(inputs, SETTINGS)
