"""RsCIN, compared with recorded vectors of the released code and with a plain, slow implementation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.scoring import rscin

EXACT = {"atol": 1e-5, "rtol": 0}


def plain_rscin(scores: list[float], classes: torch.Tensor, k: tuple[int, ...]) -> list[float]:
    """Compute the weighted means over the k most similar images with loops."""
    low, high = min(scores), max(scores)
    scaled = [(score - low) / (high - low) for score in scores]
    result = []
    for own in classes.double():
        weights = sorted(((max(float(own @ other), 0.0), j) for j, other in enumerate(classes.double())), reverse=True)
        means = [
            sum(weight * scaled[j] for weight, j in weights[:size]) / sum(weight for weight, _ in weights[:size])
            for size in k
        ]
        result.append(sum(means) / len(means))
    return result


@pytest.fixture
def classes(generator):
    return F.normalize(torch.rand(9, 16, generator=generator), dim=-1)


@pytest.fixture
def scores(generator):
    return torch.rand(9, generator=generator)


def test_reproduces_the_recorded_vectors_of_the_released_code(golden):
    vectors = golden("musc")
    found = rscin(vectors["out.anomaly_map"].amax(dim=1), vectors["in.class_tokens"], rescale=True)
    torch.testing.assert_close(found, vectors["out.image_score_rscin"], **EXACT)


@pytest.mark.parametrize("k", [(1, 2, 3), (1, 8, 9), (4,), (50, 2)])
def test_equals_the_plain_version_for_any_k(scores, classes, k):
    found = rscin(scores, classes, k, rescale=True)
    assert found.tolist() == pytest.approx(plain_rscin(scores.tolist(), classes, k), abs=1e-5)


def test_with_one_neighbour_only_the_scale_changes(scores, classes):
    torch.testing.assert_close(rscin(scores, classes, (1,)), scores)
    scaled = rscin(scores, classes, (1,), rescale=True)
    assert (float(scaled.min()), float(scaled.max())) == (0, 1)


def test_with_one_neighbour_an_image_is_its_own_neighbour_even_among_copies(scores, classes):
    copies = classes[:1].expand(9, -1)
    assert torch.equal(rscin(scores, copies, (1,)), scores)


def test_scaling_first_changes_neither_order_nor_ratios(scores, classes):
    plain = rscin(scores, classes)
    expected = (plain - scores.min()) / (scores.max() - scores.min())
    torch.testing.assert_close(rscin(scores, classes, rescale=True), expected, **EXACT)


def test_a_single_high_score_among_similar_images_is_lowered(generator):
    classes = F.normalize(1 + 0.01 * torch.rand(6, 8, generator=generator), dim=-1)
    scores = torch.tensor([0.1, 0.1, 0.9, 0.1, 0.1, 0.1])
    assert 0.1 < rscin(scores, classes)[2] < 0.9


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_images_have_finite_scores(count, scores, classes):
    found = rscin(scores[:count], classes[:count], rescale=True)
    assert found.shape == (count,)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_equal_scores_and_opposite_embeddings_stay_finite():
    apart = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    assert rscin(torch.full((3,), 0.7), apart, rescale=True).tolist() == [0, 0, 0]
    assert rscin(torch.tensor([0.2, 0.8, 0.5]), apart).tolist()[:2] == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize("k", [(), (0, 1), (-1,)])
def test_a_neighbourhood_of_no_image_is_refused(scores, classes, k):
    with pytest.raises(ValueError, match="at least 1"):
        rscin(scores, classes, k)


@pytest.mark.parametrize(("first", "second"), [((3,), (4, 2)), ((3, 1), (3, 2)), ((0,), (0, 2)), ((3,), (3,))])
def test_shapes_that_do_not_fit_are_refused(first, second):
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        rscin(torch.zeros(first), torch.zeros(second))
