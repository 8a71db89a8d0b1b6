from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.scoring import reference_score, within_window


def brute_force(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Compute scores with loops over images, patches, references and their patches, in double precision."""
    batch, rows, columns, _ = queries.shape
    scores = np.zeros((batch, rows, columns))
    for b, i, j in np.ndindex(batch, rows, columns):
        q = queries[b, i, j].astype(float)
        distances = []
        for reference in references[b]:
            patches = reference.reshape(-1, reference.shape[-1]).astype(float)
            best = max(q @ r / np.linalg.norm(q) / np.linalg.norm(r) for r in patches)
            distances.append(min(max(1 - best, 0), 1))
        scores[b, i, j] = np.mean(distances)
    return scores


@pytest.mark.parametrize("references", [1, 2, 5])
@pytest.mark.parametrize("grid", [(3, 3), (2, 5)])
def test_equals_brute_force_and_is_the_mean_over_references(references, grid, generator):
    q = 3 * torch.randn(2, *grid, 6, generator=generator)
    r = 5 * torch.randn(2, references, *grid, 6, generator=generator)
    np.testing.assert_allclose(reference_score(q, r), brute_force(q.numpy(), r.numpy()), atol=1e-6)


def test_a_reference_may_have_another_grid_or_none(generator):
    q, r = torch.randn(2, 3, 4, 6, generator=generator), torch.randn(2, 1, 5, 2, 6, generator=generator)
    expected = reference_score(q, r)
    np.testing.assert_allclose(expected, brute_force(q.numpy(), r.numpy()), atol=1e-6)
    assert torch.equal(reference_score(q, r.flatten(2, 3)), expected)


def test_an_image_that_is_its_own_reference_is_normal_everywhere(generator):
    q = torch.randn(2, 3, 3, 8, generator=generator)
    torch.testing.assert_close(reference_score(q, q.unsqueeze(1)), torch.zeros(2, 3, 3), atol=1e-6, rtol=0)


def test_the_place_of_a_patch_in_the_reference_does_not_matter(generator):
    q, r = torch.randn(1, 3, 3, 8, generator=generator), torch.randn(1, 1, 9, 8, generator=generator)
    shuffled = r[:, :, torch.randperm(9, generator=generator)]
    torch.testing.assert_close(reference_score(q, shuffled), reference_score(q, r))


def test_orthogonal_and_opposite_patches_have_the_largest_score():
    query = torch.tensor([[1.0, 0.0]]).view(1, 1, 1, 2)
    for reference in ([0.0, 3.0], [-2.0, 0.0]):
        assert reference_score(query, torch.tensor(reference).view(1, 1, 1, 2)).item() == 1


NUMBERS = st.floats(-1e3, 1e3, width=32)


@given(arrays(np.float32, (2, 1, 2, 3), elements=NUMBERS), arrays(np.float32, (2, 2, 1, 2, 3), elements=NUMBERS))
def test_stays_in_0_1_for_any_numbers(queries, references):
    scores = reference_score(torch.from_numpy(queries), torch.from_numpy(references))
    assert torch.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_precision(dtype, generator):
    q = torch.randn(2, 3, 3, 64, generator=generator).to(dtype)
    r = torch.randn(2, 2, 3, 3, 64, generator=generator).to(dtype)
    assert reference_score(q, r).dtype == torch.float32
    torch.testing.assert_close(reference_score(q, r), reference_score(q.float(), r.float()))


@pytest.mark.parametrize("shape", [(2, 0, 3, 3, 8), (3, 1, 3, 3, 8), (2, 9, 8)])
def test_no_reference_or_references_of_other_queries_are_refused(shape):
    with pytest.raises(ValueError, match=r"\[B, K, \.\.\., D\].*2 queries.*got \("):
        reference_score(torch.ones(2, 3, 3, 8), torch.ones(shape))


def centres(rows: int, columns: int) -> list[tuple[float, float]]:
    return [((i + 0.5) / rows, (j + 0.5) / columns) for i in range(rows) for j in range(columns)]


@pytest.mark.parametrize("window", [0.0, 0.2, 0.34, 1.0])
@pytest.mark.parametrize("grids", [((3, 3), (3, 3)), ((2, 5), (4, 3))])
def test_a_window_compares_only_with_patches_of_the_same_place(window, grids, generator):
    ours, theirs = centres(*grids[0]), centres(*grids[1])
    q = torch.randn(2, *grids[0], 6, generator=generator)
    r = torch.randn(2, 2, *grids[1], 6, generator=generator)
    near = within_window(torch.tensor(ours), torch.tensor(theirs), window)
    scores = reference_score(q, r, near).flatten(1)
    for place, (y, x) in enumerate(ours):
        apart = [max(abs(y - v), abs(x - u)) for v, u in theirs]
        allowed = [n for n, d in enumerate(apart) if d <= max(window, min(apart)) + 1e-6]
        alone = q.flatten(1, 2)[:, place].view(2, 1, 1, 6)
        expected = brute_force(alone.numpy(), r.flatten(2, 3)[:, :, allowed].numpy())[:, 0, 0]
        np.testing.assert_allclose(scores[:, place], expected, atol=1e-6)


def test_a_window_over_the_whole_image_changes_no_number(generator):
    q, r = torch.randn(1, 3, 4, 6, generator=generator), torch.randn(1, 2, 3, 4, 6, generator=generator)
    places = torch.tensor(centres(3, 4))
    assert torch.equal(reference_score(q, r, within_window(places, places, 1.0)), reference_score(q, r))


@pytest.mark.parametrize("near", [torch.ones(9, 8).bool(), torch.zeros(9, 9).bool()])
def test_a_patch_with_nothing_to_compare_and_a_wrong_shape_are_refused(near):
    with pytest.raises(ValueError, match=r"\[9, 9\].*within_window"):
        reference_score(torch.ones(1, 3, 3, 4), torch.ones(1, 1, 3, 3, 4), near)


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="at least 0, but got -1"):
        within_window(torch.zeros(1, 2), torch.zeros(1, 2), -1)
