"""Garbage collection."""

from __future__ import annotations

import gc

import pytest

from dualclip_lightning.utilities.memory import rare_collections


def test_collections_are_rare_within_and_as_before_afterwards():
    before = gc.get_threshold()
    with rare_collections():
        assert all(now > usual for now, usual in zip(gc.get_threshold(), before, strict=True))
    assert gc.get_threshold() == before


def test_collections_are_as_before_after_an_error():
    before = gc.get_threshold()
    with pytest.raises(MemoryError), rare_collections():
        raise MemoryError
    assert gc.get_threshold() == before
