from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dualclip_lightning.pairing import neighbour_references, references_in_group

REFERENCES = st.integers(1, 6)


@given(st.integers(1, 12), REFERENCES)
def test_references_are_others_of_the_group_each_once(size, num_references):
    references = references_in_group(size, num_references)
    assert references.shape == (size, min(num_references, size - 1))
    for image, row in enumerate(references.tolist()):
        assert image not in row
        assert len(set(row)) == len(row)
        assert set(row) <= set(range(size))


@given(st.integers(2, 12), REFERENCES)
def test_every_image_is_a_reference_as_often_as_any_other(size, num_references):
    counts = references_in_group(size, num_references).flatten().bincount(minlength=size)
    assert len(set(counts.tolist())) == 1


def test_images_of_a_pair_reference_each_other_and_three_go_around():
    assert references_in_group(2, 1).tolist() == [[1], [0]]
    assert references_in_group(3, 1).tolist() == [[1], [2], [0]]
    assert references_in_group(1, 1).shape == (1, 0)


@given(st.integers(2, 30), REFERENCES)
def test_neighbours_of_a_batch_reference_each_other_within_their_group(batch, num_references):
    rows = neighbour_references(batch, num_references)
    assert rows.shape == (batch, min(num_references, batch - 1))
    size = num_references + 1
    last = max(0, batch // size - 1)
    for image, references in enumerate(rows.tolist()):
        assert image not in references
        assert len(set(references)) == len(references)
        assert {min(r // size, last) for r in references} == {min(image // size, last)}
