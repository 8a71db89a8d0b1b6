from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dualclip_lightning.pairing import FeatureStore, store


def fill(features: FeatureStore, parts: list[tuple[torch.Tensor, ...]]) -> None:
    for part in parts:
        features.append(part)


@pytest.fixture
def parts(generator):
    """Return two parts, of 2 and of 3 rows, each with two tensors."""
    return [(torch.randn(n, 4, generator=generator), torch.randn(n, 2, 3, generator=generator)) for n in (2, 3)]


@pytest.mark.parametrize("limit", [10**6, 0])
def test_rows_come_back_as_they_were_given_from_memory_and_from_disk(parts, limit):
    features = FeatureStore(5, limit)
    fill(features, parts)
    for tensor, given in zip(features.tensors, zip(*parts, strict=True), strict=True):
        assert torch.equal(tensor, torch.cat(given))
    assert (features.folder is None) == (limit > 0)
    features.close()
    assert not features.tensors


@pytest.mark.parametrize(("limit", "on_disk"), [(4 * 5 * 10, False), (4 * 5 * 10 - 1, True)])
def test_the_limit_is_in_bytes_of_all_tensors_together(parts, limit, on_disk):
    features = FeatureStore(5, limit)
    fill(features, parts)
    assert (features.folder is not None) == on_disk
    features.close()


def test_the_folder_is_deleted_when_the_store_closes(parts):
    features = FeatureStore(5, 0)
    fill(features, parts)
    folder = Path(features.folder.name)
    assert sum(file.stat().st_size for file in folder.iterdir()) == 4 * 5 * 10
    features.close()
    assert not folder.exists()


def test_half_precision_is_kept_in_single(parts):
    features = FeatureStore(2)
    features.append([part.half() for part in parts[0]])
    assert [tensor.dtype for tensor in features.tensors] == [torch.float32] * 2


def test_a_folder_without_room_is_an_error_that_names_the_remedy(parts, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    features = FeatureStore(5, 0)
    with pytest.raises(OSError, match="Set TMPDIR"):
        fill(features, parts)
    features.close()
    assert not Path(features.folder.name).exists()
