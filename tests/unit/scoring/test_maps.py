from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw


def bilinear(grid: list[list[float]], y: float, x: float) -> float:
    """Return the value at a point of a grid with cell centres at integers; values at the edges are extended."""
    rows, columns = len(grid), len(grid[0])
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = grid[top][left] * (left + 1 - x) + grid[top][right] * (x - left)
    lower = grid[bottom][left] * (left + 1 - x) + grid[bottom][right] * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)


def recomputed(patches: torch.Tensor, size: tuple[int, int], drawing: MapDrawing) -> torch.Tensor:
    """Draw a map in the separate steps of the released codes, in double precision."""
    side = drawing.average
    padded = F.pad(patches.double()[:, None], (side // 2,) * 4, mode="replicate") if side > 1 else patches[:, None]
    enlarged = F.interpolate(
        F.avg_pool2d(padded.double(), side, stride=1), size, mode="bilinear", align_corners=drawing.align_corners
    )[:, 0]
    if not drawing.sigma:
        return enlarged
    return torch.stack([torch.from_numpy(gaussian_filter(pixels.numpy(), drawing.sigma)) for pixels in enlarged])


@pytest.mark.parametrize("size", [(48, 48), (32, 80), (7, 11), (1, 30), (5, 3)])
@pytest.mark.parametrize("grid", [(5, 5), (2, 6), (1, 1)])
@pytest.mark.parametrize("average", [1, 3])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 8.0])
def test_averages_enlarges_and_smooths_as_torch_and_scipy_do(grid, size, average, align_corners, sigma, generator):
    patches, drawing = torch.rand(2, *grid, generator=generator), MapDrawing(average, align_corners, sigma)
    maps = draw(patches, size, drawing)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), recomputed(patches, size, drawing), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(48, 48), (32, 80), (7, 11)])
@pytest.mark.parametrize("grid", [(3, 3), (2, 5), (1, 1)])
def test_is_bilinear_with_half_pixel_centres_by_default(grid, size, generator):
    patches = torch.rand(2, *grid, generator=generator)
    maps = draw(patches, size)
    assert maps.shape == (2, *size)
    for b, i, j in [(0, 0, 0), (1, size[0] // 2, size[1] // 3), (1, size[0] - 1, size[1] - 1), (0, 3, 5)]:
        point = ((i + 0.5) * grid[0] / size[0] - 0.5, (j + 0.5) * grid[1] / size[1] - 0.5)
        assert maps[b, i, j].item() == pytest.approx(bilinear(patches[b].tolist(), *point), abs=1e-5)


def test_the_gaussian_has_the_width_that_the_model_sees_at_any_size(generator):
    """For an image twice as high and three times as wide as the model sees it, sigma is scaled accordingly."""
    patches = torch.rand(2, 5, 5, generator=generator)
    enlarged = recomputed(patches, (160, 240), MapDrawing()).numpy()
    expected = np.stack([gaussian_filter(pixels, (2 * 4.0, 3 * 4.0)) for pixels in enlarged])
    found = draw(patches, (160, 240), MapDrawing(sigma=4.0), seen=(80, 80))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_draws_the_recorded_maps_of_anoclips_released_code(golden):
    """AnoCLIP draws its two tiles separately and joins them, with the mean where they overlap."""
    vectors = golden("anovl_visa")
    for part in ("out", "out.carried"):
        (height, width), similarity = vectors["in.map_size"].tolist(), vectors[f"{part}.similarity"]
        left, right = draw(similarity, (height, height), DRAWINGS["anoclip"])
        other = width - height
        joined = torch.cat([left[:, :other], (left[:, other:] + right[:, :-other]) / 2, right[:, -other:]], dim=1)
        torch.testing.assert_close(joined, vectors[f"{part}.map"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("shots", ["", "few_shot."])
def test_draws_the_recorded_maps_of_winclips_re_implementation(golden, shots):
    vectors = golden("winclip_score")
    drawn = draw(vectors[f"out.{shots}grid_map"], tuple(vectors["in.map_size"].tolist()), DRAWINGS["winclip"])
    torch.testing.assert_close(drawn, vectors[f"out.{shots}map"], atol=1e-5, rtol=0)


def test_the_drawings_are_those_of_the_released_codes():
    """Sources: AnoVL's vl_test.py, AnomalyDINO's utils.py, CLIP-AD's test.py, MuSc's musc.py, SubspaceAD's scoring.py
    and both re-implementations of WinCLIP."""
    assert {name: astuple(drawing) for name, drawing in DRAWINGS.items()} == {
        "anoclip": (3, True, 0.0, None), "anomalydino": (1, False, 4.0, None), "clip_ad": (1, False, 8.0, None),
        "musc": (1, True, 0.0, None), "subspacead": (1, False, 4.0, 1), "winclip": (1, False, 0.0, None),
    }  # fmt: skip


@given(
    arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from([*DRAWINGS.values(), MapDrawing(3, align_corners=False, sigma=2.0)]),
)  # fmt: skip
def test_never_leaves_the_range_of_the_map(patches, height, width, drawing):
    maps = draw(torch.from_numpy(patches), (height, width), drawing).numpy()
    for pixels, grid in zip(maps, patches, strict=True):
        assert pixels.min() >= grid.min()
        assert pixels.max() <= grid.max()


@pytest.mark.parametrize("drawing", DRAWINGS)
@pytest.mark.parametrize("value", [0.25, 1.0])
@pytest.mark.parametrize("size", [(80, 80), (38, 13)])
def test_a_map_of_one_value_is_that_value_everywhere(value, size, drawing):
    assert torch.equal(draw(torch.full((1, 3, 4), value), size, DRAWINGS[drawing]), torch.full((1, *size), value))


def test_a_drawing_is_a_name_or_values_that_override_neutral_defaults():
    assert MapDrawing.from_choice("anoclip") == MapDrawing(3, align_corners=True, sigma=0.0)
    assert MapDrawing.from_choice({"sigma": 4}) == MapDrawing(1, align_corners=False, sigma=4)
    assert MapDrawing.from_choice({}) == MapDrawing()


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        (
            "ano_clip",
            "drawing to be one of anoclip, anomalydino, .* or values such as .* but got 'ano_clip'",
        ),
        (None, "but got None"),
        ({"mean": 3}, r"Unknown setting\(s\) of drawing: mean. Expected some of average, align_corners, sigma"),
        ({"average": 2}, "average to be odd, but got 2"),
        ({"average": 0}, "average to be a whole number of at least 1"),
        ({"align_corners": 1}, "align_corners to be true or false, but got 1"),
        ({"sigma": -1.0}, "sigma to be at least 0"),
    ],
)
def test_an_unknown_drawing_is_refused_with_the_known_ones(choice, match):
    with pytest.raises(ValueError, match=match):
        MapDrawing.from_choice(choice)
