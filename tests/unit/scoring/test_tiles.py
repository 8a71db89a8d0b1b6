from __future__ import annotations

import pytest
import torch

from dualclip_lightning.scoring import cut_tiles, join_tiles


@pytest.mark.parametrize("size", [(6, 9), (9, 6), (6, 6), (5, 10)])
def test_the_tiles_of_an_image_join_to_it(size):
    image = torch.rand(2, 3, *size)
    tiles = cut_tiles(image)
    assert tiles.shape == (2, 2, 3, min(size), min(size))
    assert torch.equal(join_tiles(tiles.transpose(1, 2), size), image)


@pytest.mark.parametrize(("size", "places"), [((2, 3), (0, 1, 2)), ((3, 2), ([0, 1, 2]))])
def test_where_tiles_overlap_their_mean_is_used(size, places):
    tiles = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])
    joined = join_tiles(tiles, size)
    rows = joined if size[0] == 3 else joined.T
    assert [rows[place].tolist() for place in places] == [[0, 0], [0.5, 0.5], [1, 1]]


def test_an_image_that_two_squares_do_not_cover_is_refused():
    with pytest.raises(ValueError, match=r"at most 2 to 1, but got 5x11. Set resize='squash'"):
        cut_tiles(torch.zeros(1, 3, 5, 11))
