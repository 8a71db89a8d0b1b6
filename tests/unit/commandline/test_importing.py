"""Imports without garbage collection."""

from __future__ import annotations

import gc
import sys

import pytest

from dualclip_lightning.commandline.importing import uncollected


@pytest.fixture
def unfrozen():
    yield
    gc.unfreeze()


def test_garbage_is_not_collected_while_pytorch_is_imported_and_its_objects_are_left_out_later(monkeypatch, unfrozen):
    monkeypatch.delitem(sys.modules, "torch")
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


@pytest.mark.slow
def test_garbage_is_collected_again_if_the_import_fails(monkeypatch, unfrozen):
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.slow
def test_nothing_changes_if_pytorch_has_been_imported(unfrozen):
    before = gc.get_freeze_count()
    with uncollected():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
