from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.scoring import upsample


def bilinear(grid: list[list[float]], y: float, x: float) -> float:
    """Value at a point of a grid whose cells have their centres at whole numbers; edges are continued."""
    rows, columns = len(grid), len(grid[0])
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = grid[top][left] * (left + 1 - x) + grid[top][right] * (x - left)
    lower = grid[bottom][left] * (left + 1 - x) + grid[bottom][right] * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)


@pytest.mark.parametrize("size", [(48, 48), (32, 80), (7, 11)])
@pytest.mark.parametrize("grid", [(3, 3), (2, 5), (1, 1)])
def test_is_bilinear_with_half_pixel_centres(grid, size, generator):
    patches = torch.rand(2, *grid, generator=generator)
    maps = upsample(patches, size)
    assert maps.shape == (2, *size)
    for b, i, j in [(0, 0, 0), (1, size[0] // 2, size[1] // 3), (1, size[0] - 1, size[1] - 1), (0, 3, 5)]:
        point = ((i + 0.5) * grid[0] / size[0] - 0.5, (j + 0.5) * grid[1] / size[1] - 0.5)
        assert maps[b, i, j].item() == pytest.approx(bilinear(patches[b].tolist(), *point), abs=1e-5)


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)), st.integers(1, 40), st.integers(1, 40))
def test_never_leaves_the_range_of_the_map(patches, height, width):
    maps = upsample(torch.from_numpy(patches), (height, width)).numpy()
    for pixels, grid in zip(maps, patches, strict=True):
        assert pixels.min() >= grid.min()
        assert pixels.max() <= grid.max()


@pytest.mark.parametrize("value", [0.25, 1.0])
@pytest.mark.parametrize("size", [(80, 80), (38, 13)])
def test_a_map_of_one_value_is_that_value_everywhere(value, size):
    assert torch.equal(upsample(torch.full((1, 3, 4), value), size), torch.full((1, *size), value))
