"""AnoCLIP's adaptation against the published implementation's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dualclip_lightning.adaptation.anoclip import adapt_to_noise

GOLDEN = Path(__file__).parents[2] / "golden" / "noise_tta.safetensors"


@pytest.fixture(scope="module")
def golden():
    return load_file(GOLDEN)


def _run(golden, copies=1):
    start = golden["in.weight"].repeat(copies, 1, 1), golden["in.bias"].repeat(copies, 1)
    tokens, noise = (golden[f"in.{name}"].repeat(copies, 1, 1, 1) for name in ("tokens", "noise"))
    return adapt_to_noise(tokens, [noise] * 5, golden["in.text_embeddings"], start)


def test_losses_adapter_and_scores_are_the_published_ones(golden):
    probability, adapted = _run(golden)
    found = {
        "losses": adapted.losses[:, 0],
        "weight": adapted.parameters[0][0],
        "bias": adapted.parameters[1][0],
        "anomaly_probability": probability,
    }
    for name, value in found.items():
        assert torch.allclose(value, golden[f"out.{name}"], rtol=0, atol=1e-5), name


def test_images_of_a_batch_adapt_apart_from_each_other(golden):
    alone, _ = _run(golden)
    together, _ = _run(golden, copies=3)
    assert torch.allclose(together, alone.expand(3, -1, -1), atol=1e-6)
