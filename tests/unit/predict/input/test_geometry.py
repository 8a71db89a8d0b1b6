from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode, Resize

from dualclip_lightning.predict.input.geometry import MOST_STRETCH, Geometry, limit_note, plan_views
from dualclip_lightning.predict.input.views import blend, extract, patch_places

MODEL, PATCH = (48, 48), (16, 16)
SIDES = st.integers(1, 3000)
GEOMETRIES = st.one_of(
    st.just(Geometry()),
    st.just(Geometry("keep")),
    st.builds(Geometry, st.just("tiles"), st.none() | st.integers(20, 200), st.floats(0, 0.75)),
)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def whole(pixels: np.ndarray, height: int, width: int, mode: str) -> torch.Tensor:
    """Resize the image with torchvision, as the Lightning models do."""
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    return Resize((height, width), interpolation=InterpolationMode(mode), antialias=True)(image)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, GEOMETRIES)
def test_views_cover_every_patch_of_any_image_and_none_beyond(height, width, geometry):
    plan = plan_views((height, width), geometry, MODEL, PATCH)
    covered = np.zeros(plan.lattice, int)
    for row, column in plan.corners:
        assert 0 <= row <= plan.lattice[0] - plan.view[0]
        assert 0 <= column <= plan.lattice[1] - plan.view[1]
        covered[row : row + plan.view[0], column : column + plan.view[1]] += 1
    assert covered.min() >= 1
    assert plan.view[0] * plan.view[1] <= MOST_STRETCH * 9
    assert len(set(plan.corners)) == len(plan.corners)


def test_squash_is_the_models_size_whatever_the_image():
    plan = plan_views((1250, 500), Geometry("squash"), MODEL, PATCH)
    assert (plan.lattice, plan.view, plan.corners) == ((3, 3), (3, 3), ((0, 0),))


@pytest.mark.parametrize(
    ("image", "lattice"), [((100, 100), (3, 3)), ((100, 200), (3, 6)), ((250, 100), (8, 3)), ((48, 480), (2, 18))]
)
def test_keep_has_the_aspect_ratio_of_the_image_up_to_a_limit(image, lattice):
    assert plan_views(image, Geometry("keep"), MODEL, PATCH).lattice == lattice


@pytest.mark.parametrize(
    ("image", "said"),
    [((100, 100), []), ((250, 100), []), ((48, 480), ["288x32"]), ((1, 400), ["576x16", "another aspect ratio"])],
)
def test_an_image_too_long_for_the_models_size_has_a_note_on_the_size_used(image, said):
    note = limit_note(plan_views(image, Geometry(), MODEL, PATCH), Geometry(), MODEL)
    assert bool(note) == bool(said)
    assert all(part in note for part in said)
    squash = Geometry("squash")
    assert limit_note(plan_views(image, squash, MODEL, PATCH), squash, MODEL) == ""


def test_tiles_of_the_models_size_keep_the_scale():
    plan = plan_views((96, 160), Geometry("tiles", overlap=0), MODEL, PATCH)
    assert plan.lattice == (6, 10)
    assert plan.corners == tuple((r, c) for r in (0, 3) for c in (0, 2, 5, 7))
    half = plan_views((96, 160), Geometry("tiles", tile=96, overlap=0), MODEL, PATCH)
    assert half.lattice == (3, 5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 120), GEOMETRIES, st.sampled_from(["bicubic", "bilinear"]))
def test_every_view_is_its_part_of_the_whole_image_resized_by_torchvision(height, width, geometry, mode):
    pixels = noise(height, width)
    plan = plan_views((height, width), geometry, MODEL, PATCH)
    scaled = whole(pixels, plan.lattice[0] * 16, plan.lattice[1] * 16, mode)
    for number, (row, column) in enumerate(plan.corners):
        view = extract(pixels, plan, number, mode)
        expected = scaled[:, row * 16 : (row + plan.view[0]) * 16, column * 16 : (column + plan.view[1]) * 16]
        torch.testing.assert_close(view, expected, atol=2e-5, rtol=0)


def test_floating_point_pixels_give_the_same_view_as_bytes():
    pixels = noise(70, 90)
    plan = plan_views((70, 90), Geometry("tiles"), MODEL, PATCH)
    as_floats = extract((pixels / 255).astype(np.float32), plan, 1, "bicubic")
    torch.testing.assert_close(as_floats, extract(pixels, plan, 1, "bicubic"))


def test_places_are_the_centres_of_patches_on_the_whole_image():
    plan = plan_views((64, 96), Geometry("tiles", overlap=0), MODEL, PATCH)
    last = patch_places(plan, len(plan.corners) - 1)
    assert last.shape == (9, 2)
    torch.testing.assert_close(last[0], torch.tensor([1.5 / 4, 3.5 / 6]))
    torch.testing.assert_close(last[-1], torch.tensor([3.5 / 4, 5.5 / 6]))


def test_one_view_is_its_own_map():
    plan = plan_views((10, 10), Geometry(), MODEL, PATCH)
    score_map = torch.rand(1, 3, 3)
    assert torch.equal(blend(plan, score_map), score_map[0])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 0.75))
def test_blending_pieces_of_one_map_gives_that_map(height, width, overlap):
    plan = plan_views((height, width), Geometry("tiles", overlap=overlap), MODEL, PATCH)
    score_map = torch.rand(plan.lattice, generator=torch.Generator().manual_seed(0))
    pieces = [score_map[r : r + plan.view[0], c : c + plan.view[1]] for r, c in plan.corners]
    torch.testing.assert_close(blend(plan, pieces), score_map)


def test_blending_gives_the_middle_of_a_view_more_weight_than_its_edge():
    plan = plan_views((16, 64), Geometry("tiles", overlap=0.67), MODEL, PATCH)
    assert plan.corners == ((0, 0), (0, 1))
    blended = blend(plan, torch.stack([torch.zeros(1, 3), torch.ones(1, 3)]))
    torch.testing.assert_close(blended, torch.tensor([[0, 0.5 / 2, 1.5 / 2, 1]])[:, [0, 1, 2, 3]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"mode": "crop"}, "one of keep, squash, tiles"), ({"tile": 0}, "pixels"), ({"overlap": 0.8}, "0.75")],
)
def test_a_geometry_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Geometry(**arguments)
