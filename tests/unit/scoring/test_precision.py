"""Scores keep single precision when the caller runs the towers in half precision."""

from __future__ import annotations

import pytest
import torch

from dualclip_lightning import scoring

ANCHORS = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
CASES = {
    "association_score": lambda x: scoring.association_score(x, x.flatten(0, 2).flip(0)[:20]),
    "draw": lambda x: scoring.draw(x[..., 0], (48, 48), scoring.MapDrawing(3, align_corners=True, sigma=2.0)),
    "feature_surgery": lambda x: scoring.feature_surgery([x.flatten(1, 2)], ANCHORS),
    "harmonic_map": lambda x: scoring.harmonic_map(x[..., 0].sigmoid(), (5, 5)),
    "mutual_scores": lambda x: scoring.mutual_scores([x]),
    "paired_scores": lambda x: scoring.paired_scores([x], torch.tensor([[1], [0], [3], [2]])),
    "reference_score": lambda x: scoring.reference_score(x, x.flip(0).unsqueeze(1)),
    "rscin": lambda x: scoring.rscin(x[:, 0, 0, 0], x[:, 1, 1]),
    "text_score": lambda x: scoring.text_score(x, ANCHORS, 0.01),
}


@pytest.mark.parametrize("score", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_change_the_result(score, dtype, generator):
    tokens = torch.randn(4, 4, 4, 32, generator=generator)
    expected = score(tokens)
    with torch.autocast("cpu", dtype=dtype):
        found = score(tokens)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
