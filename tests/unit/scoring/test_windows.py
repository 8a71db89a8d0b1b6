from __future__ import annotations

from statistics import harmonic_mean as plain_harmonic_mean

import pytest
import torch

from dualclip_lightning.scoring import association_score, harmonic_map, harmonic_mean


@pytest.mark.parametrize(("grid", "places"), [((4, 5), (3, 4)), ((4, 5), (2, 3)), ((3, 3), (1, 1)), ((2, 2), (2, 2))])
def test_a_patch_has_the_harmonic_mean_of_the_windows_over_it(grid, places, generator):
    scores = torch.rand(2, *places, generator=generator)
    sides = grid[0] - places[0] + 1, grid[1] - places[1] + 1
    found = harmonic_map(scores, grid)
    for image in range(2):
        for row in range(grid[0]):
            for column in range(grid[1]):
                over = [
                    float(scores[image, r, c])
                    for r in range(places[0])
                    for c in range(places[1])
                    if r <= row < r + sides[0] and c <= column < c + sides[1]
                ]
                assert float(found[image, row, column]) == pytest.approx(plain_harmonic_mean(over), abs=1e-6)


def test_a_score_of_zero_does_not_give_nan():
    scores = torch.tensor([[[0.0, 0.5], [0.5, 0.5]]])
    found = harmonic_map(scores, (3, 3))
    assert found[0, 0, 0] == found[0, 1, 1] == 0
    assert found[0, 2, 2] == 0.5
    assert harmonic_mean([found, torch.full((1, 1, 1), 0.25)]).isfinite().all()


def test_maps_are_joined_by_harmonic_means_and_a_number_stands_for_a_map(generator):
    first, second = torch.rand(2, 1, 2, 3, generator=generator)
    number = torch.rand(1, 1, 1, generator=generator)
    found = harmonic_mean([first, second, number])
    for place in range(6):
        values = [float(first.flatten()[place]), float(second.flatten()[place]), float(number)]
        assert float(found.flatten()[place]) == pytest.approx(plain_harmonic_mean(values), abs=1e-6)


def test_distance_to_the_most_similar_reference(generator):
    queries, references = torch.randn(2, 3, 4, 8, generator=generator), torch.randn(5, 8, generator=generator)
    found = association_score(queries, references)
    for image in range(2):
        for row in range(3):
            for column in range(4):
                cosines = torch.cosine_similarity(queries[image, row, column][None], references)
                expected = 0.5 * (1 - float(cosines.max()))
                assert float(found[image, row, column]) == pytest.approx(expected, abs=1e-6)


def test_the_reference_itself_has_no_distance_and_its_opposite_the_largest():
    vectors = torch.eye(4)
    assert association_score(vectors, vectors).abs().max() < 1e-6
    assert association_score(-vectors[:1], vectors[:1]).item() == pytest.approx(1)
