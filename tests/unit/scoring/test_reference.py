from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.scoring import reference_score


def brute_force(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Loops over every image, patch, reference and patch of the reference; in double precision."""
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
