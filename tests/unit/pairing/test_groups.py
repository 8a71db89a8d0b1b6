from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from dualclip_lightning.pairing import order_for_ranks, random_groups, random_subsets

COUNTS, REFERENCES, SEEDS = st.integers(0, 40), st.integers(1, 6), st.integers(-(2**40), 2**40)


def names_of(count: int, root: str = "/data") -> list[str]:
    """Return names in anomalib's order: all of one kind of defect, then all of the next."""
    return [f"{root}/test/{kind}/{i:03}.png" for kind in ("crack", "good") for i in range((count + 1) // 2)][:count]


def named_groups(names: list[str], num_references: int, seed: int, root: str = "") -> list[tuple[str, ...]]:
    groups = random_groups(names, num_references, seed)
    return [tuple(names[i].removeprefix(root) for i in group) for group in groups]


@given(COUNTS, REFERENCES, SEEDS)
def test_groups_are_a_partition_into_k_plus_1_with_the_rest_in_the_last(count, num_references, seed):
    groups = random_groups(names_of(count), num_references, seed)
    assert sorted(chain.from_iterable(groups)) == list(range(count))
    size = num_references + 1
    if count <= size:
        assert len(groups) == bool(count)
    else:
        assert {len(group) for group in groups[:-1]} <= {size}
        assert len(groups[-1]) == size + count % size


@given(st.integers(2, 40), REFERENCES, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_listing_makes_no_difference(count, num_references, seed, random):
    names = names_of(count)
    shuffled = random.sample(names, count)
    assert named_groups(shuffled, num_references, seed) == named_groups(names, num_references, seed)


@pytest.mark.parametrize("root", ["/elsewhere/deep/down", "relative", ".", "/data/../data"])
def test_where_the_data_set_lies_makes_no_difference(root):
    here = named_groups(names_of(21), 1, seed=3, root="/data")
    assert named_groups(names_of(21, root), 1, seed=3, root=root) == here


@pytest.mark.parametrize("names", [["a.png", "b.png", "c.png"], ["/x/a.png", "b/c.png", "d.png"], ["one.png"]])
def test_names_need_no_folder_in_common(names):
    assert sorted(chain.from_iterable(random_groups(names, 1, 0))) == list(range(len(names)))


def test_another_seed_or_another_set_of_images_gives_other_groups():
    groups = [named_groups(names_of(30), 1, seed) for seed in range(20)]
    assert len({tuple(g) for g in groups}) == 20
    fewer = random_groups(names_of(30)[:-1], 1, seed=0)
    assert fewer[:14] != random_groups(names_of(30), 1, seed=0)[:14]


def test_drawing_does_not_change_the_global_generator():
    before = torch.get_rng_state()
    random_groups(names_of(30), 1, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_pairs_are_random_over_the_whole_set_and_not_neighbours_of_the_listing():
    # With 50 images of each kind, a random partner is of the same kind with probability 49/99, which is 990 +- 22 of
    # 2,000 pairs, and the next or previous image with probability 2/100.
    names = names_of(100)
    pairs = list(chain.from_iterable(random_groups(names, 1, seed) for seed in range(40)))
    same_kind = sum(names[a].split("/")[3] == names[b].split("/")[3] for a, b in pairs)
    neighbours = sum(abs(a - b) == 1 for a, b in pairs)
    assert abs(same_kind - 990) < 5 * 22
    assert neighbours < 80


def test_every_image_can_be_paired_with_every_other():
    met = {frozenset(pair) for seed in range(200) for pair in random_groups(names_of(6), 1, seed)}
    assert len(met) == 15


@pytest.mark.parametrize("num_references", [0, -1])
def test_fewer_than_one_reference_is_refused(num_references):
    with pytest.raises(ValueError, match="num_references to be at least 1"):
        random_groups(names_of(4), num_references, 0)


@given(st.integers(1, 40), st.integers(1, 50), SEEDS)
def test_subsets_are_a_partition_into_equal_parts_of_two_images_or_more(count, wanted, seed):
    subsets = random_subsets(names_of(count), wanted, seed)
    assert sorted(chain.from_iterable(subsets)) == list(range(count))
    sizes = [len(subset) for subset in subsets]
    assert max(sizes) - min(sizes) <= 1
    assert len(subsets) == max(1, min(wanted, count // 2))
    assert min(sizes) >= min(2, count)


def test_subsets_depend_only_on_the_seed_and_the_names():
    names = names_of(20)
    drawn = {frozenset(names[i] for i in random_subsets(names, 2, seed=1)[0])}
    listed_otherwise = names[7:] + names[:7]
    drawn.add(frozenset(listed_otherwise[i] for i in random_subsets(listed_otherwise, 2, seed=1)[0]))
    assert len(drawn) == 1
    assert random_subsets(names, 2, seed=1) != random_subsets(names, 2, seed=2)


def test_no_subset_is_refused():
    with pytest.raises(ValueError, match="at least 1 subset"):
        random_subsets(names_of(4), 0, 0)


@given(count=st.integers(1, 40), references=st.integers(1, 5), ranks=st.integers(1, 5))
def test_ranks_get_whole_groups_and_every_image_once(count, references, ranks):
    groups = random_groups([f"{i}.png" for i in range(count)], references, seed=0)
    order = order_for_ranks(groups, ranks)
    assert sorted(order) == list(range(count))
    rank_of = {}
    for rank in range(ranks):
        sampler = DistributedSampler(range(count), num_replicas=ranks, rank=rank, shuffle=False)
        own = [position for n, position in enumerate(sampler) if n < len(range(rank, count, ranks))]
        rank_of |= {order[position]: rank for position in own}
    split = [group for group in groups if len({rank_of[member] for member in group}) > 1]
    assert len(split) <= ranks


def test_one_process_gets_the_groups_in_order():
    groups = [(3, 1), (0, 4), (2, 5, 6)]
    assert order_for_ranks(groups, 1) == [3, 1, 0, 4, 2, 5, 6]


def test_two_processes_do_not_split_a_pair():
    groups = [(3, 1), (0, 4), (2, 5), (6, 7)]
    order = order_for_ranks(groups, 2)
    assert {tuple(order[0::2][i : i + 2]) for i in (0, 2)} | {tuple(order[1::2][i : i + 2]) for i in (0, 2)} == set(
        groups
    )
