"""Drawing inside a graph gives what `scoring.draw` gives at the same size."""

from __future__ import annotations

import pytest
import torch

from dualclip_lightning.predict.export.drawing import draw_at, reaches_too_far
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw

OTHERS = {
    "long mirrored": MapDrawing(average=5, sigma=3.0, radius=5),
    "aligned and smoothed": MapDrawing(align_corners=True, sigma=2.0),
}
SEEN = (48, 64)


@pytest.mark.parametrize("size", [SEEN, (90, 31), (1, 1), (1, 40), (2, 3), (72, 96), (200, 300)])
@pytest.mark.parametrize("drawing", [*DRAWINGS.values(), *OTHERS.values()], ids=[*DRAWINGS, *OTHERS])
def test_maps_are_equal_at_any_size(drawing, size):
    maps = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = draw(maps, size, drawing, SEEN)
    torch.testing.assert_close(draw_at(maps, size, drawing, SEEN), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("drawing", "far"),
    [
        (MapDrawing(sigma=12.0), True),
        (MapDrawing(sigma=11.9), False),
        (MapDrawing(sigma=1.0, radius=48), True),
        (MapDrawing(radius=48), False),
        (MapDrawing(), False),
    ],
)
def test_a_gaussian_longer_than_the_image_is_recognised(drawing, far):
    assert reaches_too_far(drawing, SEEN) is far
