from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualclip_lightning.pairing import GroupedScoring, PatchPrediction, choose_references, random_groups
from dualclip_lightning.predict.scoring.references import PairOrder


class Method:
    """Stand-in for a method: its score depends differently on an image and its references, and it counts images."""

    def __init__(self) -> None:
        self.encoded: Counter[str] = Counter()
        self.largest_batch = 0

    def __call__(self, images: torch.Tensor, references: torch.Tensor | None, names: list[str]) -> PatchPrediction:
        assert len(images) == len(names)
        self.encoded.update(names)
        self.largest_batch = max(self.largest_batch, len(images))
        own = images.flatten(1).mean(dim=1)
        other = torch.zeros_like(own) if references is None else own[references].square().sum(dim=1)
        scores = own + other
        return PatchPrediction(scores, scores[:, None, None] * torch.ones(2, 3))


def build(count: int, num_references: int, seed: int = 0) -> tuple[GroupedScoring, Method, torch.Tensor]:
    names = [f"{i:02}.png" for i in range(count)]
    images = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    method = Method()
    groups = random_groups(names, num_references, seed)
    return (
        GroupedScoring(names, choose_references(groups, set(range(count)), num_references), images.__getitem__, method),
        method,
        images,
    )


def by_definition(scoring: GroupedScoring, images: torch.Tensor, num_references: int) -> list[float]:
    """Compute each score separately: the mean of an image plus the squared means of the next images in its group."""
    means = images.flatten(1).mean(dim=1).tolist()
    scores = {}
    for group in scoring.groups:
        for place, member in enumerate(group):
            steps = range(1, min(num_references, len(group) - 1) + 1)
            scores[member] = means[member] + sum(means[group[(place + s) % len(group)]] ** 2 for s in steps)
    return [scores[i] for i in range(len(images))]


@given(st.integers(1, 17), st.integers(1, 4), st.integers(1, 20), st.booleans(), st.randoms(use_true_random=False))
def test_any_split_into_batches_in_any_order_gives_the_scores_of_the_whole_set(
    count, num_references, batch_size, in_order, random
):
    scoring, method, images = build(count, num_references)
    order = [m for group in scoring.groups for m in group] if in_order else random.sample(range(count), count)
    scores = torch.empty(count)
    for start in range(0, count, batch_size):
        batch = order[start : start + batch_size]
        prediction = scoring([scoring.names[i] for i in batch], images[batch])
        assert prediction.maps.shape == (len(batch), 2, 3)
        torch.testing.assert_close(prediction.maps[:, 1, 2], prediction.scores)
        scores[batch] = prediction.scores
    torch.testing.assert_close(scores, torch.tensor(by_definition(scoring, images, num_references)))
    assert method.encoded == Counter(scoring.names)
    assert not scoring._waiting


@given(st.integers(2, 17), st.integers(1, 4), st.integers(1, 20))
def test_never_more_images_at_once_than_a_batch_or_a_group_holds(count, num_references, batch_size):
    scoring, method, images = build(count, num_references)
    for start in range(0, count, batch_size):
        batch = list(range(start, min(start + batch_size, count)))
        scoring([scoring.names[i] for i in batch], images[batch])
    assert method.largest_batch <= max(batch_size, *(len(group) for group in scoring.groups))


def test_in_the_order_of_the_groups_nothing_is_loaded_twice_where_the_batch_fits():
    scoring, _, images = build(12, 1)
    scoring.load = lambda _: pytest.fail("loaded an image that shares a batch with its group")
    order = [m for group in scoring.groups for m in group]
    for start in range(0, 12, 4):
        batch = order[start : start + 4]
        scoring([scoring.names[i] for i in batch], images[batch])


def test_repeated_images_have_the_same_score():
    # Like the padding of a DistributedSampler: the first images are repeated at the end, some twice in one batch.
    scoring, _, images = build(7, 1)
    order = [*range(7), 0, 1, 1]
    seen: dict[int, set[float]] = {}
    for start in range(0, len(order), 3):
        batch = order[start : start + 3]
        prediction = scoring([scoring.names[i] for i in batch], images[batch])
        for i, score in zip(batch, prediction.scores.tolist(), strict=True):
            seen.setdefault(i, set()).add(round(score, 5))
    assert all(len(scores) == 1 for scores in seen.values())
    expected = by_definition(scoring, images, 1)
    assert [scores.pop() for _, scores in sorted(seen.items())] == pytest.approx(expected, abs=1e-4)


def test_a_single_image_is_scored_without_reference():
    scoring, _, images = build(1, 1)
    assert scoring(scoring.names, images).scores.item() == pytest.approx(images.mean().item())


def test_a_member_that_is_loaded_takes_the_type_of_the_batch():
    scoring, _, images = build(2, 1)
    prediction = scoring(scoring.names[:1], images[:1].double())
    assert prediction.scores.dtype == torch.float64


def test_an_image_that_is_not_in_the_data_set_is_an_error_that_names_it():
    scoring, _, images = build(4, 1)
    with pytest.raises(KeyError, match=r"new\.png"):
        scoring(["new.png"], images[:1])


@given(st.sets(st.integers(0, 16), min_size=1), st.integers(1, 4), st.integers(1, 20))
def test_images_that_cannot_be_read_leave_each_other_image_its_references_by_the_drawn_groups(usable, k, batch_size):
    names = [f"{i:02}.png" for i in range(17)]
    images = torch.randn(17, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    groups = random_groups(names, k, seed=0)
    means = images.flatten(1).mean(dim=1).tolist()
    method = Method()
    scoring = GroupedScoring(names, choose_references(groups, usable, k), images.__getitem__, method)
    assert sorted(member for group in scoring.groups for member in group) == sorted(usable)
    order = sorted(usable)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        scores = scoring([names[i] for i in batch], images[batch]).scores.tolist()
        for position, score in zip(batch, scores, strict=True):
            others = [r for r in PairOrder(names, k, 0).candidates(position) if r in usable][:k]
            assert score == pytest.approx(means[position] + sum(means[r] ** 2 for r in others), abs=1e-6)
    assert method.encoded == Counter(names[i] for i in usable)
