from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualclip_lightning.pairing import random_groups, references_in_group
from dualclip_lightning.predict.input.reader import PatchSet
from dualclip_lightning.predict.scoring.references import InSequence, PairOrder, StreamBank

NAMES = st.integers(1, 30).map(lambda n: [f"shots/{i}.png" for i in range(n)])


@given(NAMES, st.integers(1, 4), st.integers(0, 5), st.integers(1, 12))
def test_pairs_are_those_of_the_method_through_lightning(names, count, seed, size):
    order = PairOrder(names, count, seed)
    for group in random_groups(names, count, seed):
        for place, rows in enumerate(references_in_group(len(group), count).tolist()):
            first = list(islice(order.candidates(group[place]), len(rows)))
            assert first == [group[row] for row in rows]
    assert Counter(p for chunk in order.chunks(size) for p in chunk) == Counter(range(len(names)))


@given(NAMES, st.integers(1, 3))
def test_every_other_image_is_a_candidate_and_no_image_is_its_own_reference(names, count):
    order = PairOrder(names, count, seed=0)
    for position in range(len(names)):
        candidates = list(order.candidates(position))
        assert sorted(candidates) == [p for p in range(len(names)) if p != position]


@given(st.integers(0, 20), st.integers(1, 7))
def test_a_stream_keeps_its_order_and_looks_back(count, size):
    order = InSequence(count, stream=True)
    assert [p for chunk in order.chunks(size) for p in chunk] == list(range(count))
    assert list(order.candidates(4)) == [3, 2, 1, 0]
    assert list(InSequence(count, stream=False).candidates(4)) == []


def test_a_bank_keeps_the_last_ones():
    bank = StreamBank(2)
    for name in "abc":
        bank.add(PatchSet(name, (torch.zeros(1, 2),), torch.zeros(1, 2), torch.zeros(1, 2)))
    assert [patches.name for patches in bank.latest()] == ["c", "b"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_group_is_never_split(count):
    order = PairOrder([str(i) for i in range(20)], count, seed=0)
    for size in (1, 4, 7):
        chunks = [set(chunk) for chunk in order.chunks(size)]
        assert all(any(set(group) <= chunk for chunk in chunks) for group in order.groups)
