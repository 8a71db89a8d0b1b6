from __future__ import annotations

import numpy as np
import pytest

from dualclip_lightning.demo.data.assets import texture_paths
from dualclip_lightning.demo.data.defects import ATTEMPTS, DEFECTS, MIN_PIXELS, VISIBLE, add_defect
from dualclip_lightning.images.reading.tensors import read_rgb

SEEDS = range(40)
every_kind = pytest.mark.parametrize("kind", DEFECTS)


@pytest.fixture(scope="module")
def photograph():
    path = next(path for path in texture_paths() if path.stem.startswith("bricks"))
    return (read_rgb(path).permute(1, 2, 0).numpy() * 255).astype(np.uint8)


@every_kind
def test_pixels_outside_the_mask_are_the_same_bytes(photograph, kind):
    for seed in SEEDS:
        image, mask = add_defect(photograph, kind, np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert np.array_equal(image[~mask], photograph[~mask])


@every_kind
def test_most_of_the_mask_is_visibly_changed_and_it_is_neither_empty_nor_everything(photograph, kind):
    for seed in SEEDS:
        image, mask = add_defect(photograph, kind, np.random.default_rng(seed))
        change = np.abs(image.astype(int) - photograph.astype(int)).max(axis=-1)
        assert MIN_PIXELS <= mask.sum() < 0.3 * mask.size
        assert (change[mask] >= VISIBLE).mean() > 0.6


@every_kind
def test_the_same_generator_draws_the_same_defect_and_another_seed_another(photograph, kind):
    first, again, other = (add_defect(photograph, kind, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.mask, other.mask)


@every_kind
def test_draws_into_images_that_are_not_square_and_does_not_change_the_argument(photograph, kind):
    image = np.ascontiguousarray(np.tile(photograph, (1, 2, 1))[:100])
    before = image.copy()
    drawn, mask = add_defect(image, kind, np.random.default_rng(3))
    assert drawn.shape == image.shape == (100, 256, 3)
    assert mask.shape == (100, 256)
    assert np.array_equal(image, before)


def test_neither_reads_nor_advances_the_global_generator(photograph):
    np.random.seed(0)  # noqa: NPY002 - the global state is what is tested
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for kind in DEFECTS:
        add_defect(photograph, kind, np.random.default_rng(0))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_foreign_piece_shows_the_other_material(photograph):
    material = np.full_like(photograph, (10, 200, 30))
    image, mask = add_defect(photograph, "foreign", np.random.default_rng(0), material)
    changed = (image != photograph).any(axis=-1)
    assert (image[changed] == (10, 200, 30)).all()
    assert mask[changed].all()


def test_a_hole_and_a_crack_are_darker_than_the_material(photograph):
    for kind in ("hole", "crack"):
        image, mask = add_defect(photograph, kind, np.random.default_rng(0))
        assert np.median(image[mask]) < 0.5 * np.median(photograph[mask])


def test_a_colour_change_keeps_the_brightest_channel():
    image = np.random.default_rng(0).integers(60, 250, (64, 64, 3), dtype=np.uint8)
    drawn, mask = add_defect(image, "colour", np.random.default_rng(0))
    assert np.abs(drawn[mask].max(axis=-1).astype(int) - image[mask].max(axis=-1)).max() <= 1  # the value in HSV


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones(photograph):
    with pytest.raises(ValueError, match=r"Unknown defect 'rot'.*scratch.*distortion"):
        add_defect(photograph, "rot", np.random.default_rng(0))


def test_a_distortion_of_a_plain_colour_is_an_error_that_states_the_reason():
    plain = np.full((64, 64, 3), 128, np.uint8)
    with pytest.raises(ValueError, match=r"distortion cannot be seen.*Choose another kind"):
        add_defect(plain, "distortion", np.random.default_rng(0))


def test_a_drawing_that_cannot_be_seen_is_drawn_again(photograph, monkeypatch):
    calls = []

    def faint_at_first(image, rng, other):
        calls.append(other)
        region = np.zeros(image.shape[:2], bool)
        region[:8, :8] = True
        return (image if len(calls) < ATTEMPTS else 255 - image), region

    monkeypatch.setitem(DEFECTS, "faint", faint_at_first)
    mask = add_defect(photograph, "faint", np.random.default_rng(0)).mask
    assert len(calls) == ATTEMPTS
    assert mask[:8, :8].any()
    assert not mask[8:].any()
