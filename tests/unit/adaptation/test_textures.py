"""Texture sources: the textures they draw, and their errors for bad folders and files."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from dualclip_lightning.adaptation.textures import TextureSource
from dualclip_lightning.data import texture_paths


def _fill(folder, count=3):
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        (folder / "deep").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "deep" / f"{i}.png")
    return folder


def test_the_packaged_photographs_are_the_default():
    source = TextureSource()
    assert source.paths == texture_paths()
    texture = source.sample((33, 47), seed=1)
    assert texture.shape == (3, 33, 47)
    assert texture.min() >= 0
    assert texture.max() <= 1


def test_a_texture_depends_on_its_seed_and_not_on_what_was_drawn_before(tmp_path):
    first, second = TextureSource(_fill(tmp_path)), TextureSource(tmp_path)
    for seed in (9, 8, 7):
        second.sample((16, 16), seed)
    assert torch.equal(first.sample((16, 16), 4), second.sample((16, 16), 4))
    assert not torch.equal(first.sample((16, 16), 4), first.sample((16, 16), 5))


def test_augmentation_changes_the_photograph(tmp_path):
    source = TextureSource(_fill(tmp_path, count=1))
    plain = torch.from_numpy(np.array(Image.open(source.paths[0]))).permute(2, 0, 1) / 255
    changed = [not torch.allclose(source.sample((20, 24), seed), plain, atol=0.02) for seed in range(8)]
    assert sum(changed) >= 7


@pytest.mark.parametrize(("name", "words"), [("nowhere", "is not a folder"), ("empty", "has no image in it")])
def test_a_bad_folder_is_refused_with_the_remedy(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"{words}. Leave it out for the packaged ones"):
        TextureSource(tmp_path / name)


def test_a_broken_texture_is_named_once_and_the_next_one_taken(tmp_path, caplog):
    source = TextureSource(_fill(tmp_path))
    for path in source.paths[:2]:
        path.write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        textures = [source.sample((16, 16), seed) for seed in range(30)]
    assert all(texture.shape == (3, 16, 16) for texture in textures)
    assert sorted(record.args[0] for record in caplog.records) == source.paths[:2]


def test_a_folder_of_broken_textures_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="None of the 1 textures can be read"):
        TextureSource(tmp_path).sample((8, 8), 0)


def test_an_image_that_declares_an_absurd_size_counts_as_broken(tmp_path, monkeypatch, caplog):
    source = TextureSource(_fill(tmp_path))
    Image.new("RGB", (100, 100)).save(source.paths[0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 20)
    with caplog.at_level(logging.WARNING):
        for seed in range(12):
            source.sample((16, 16), seed)
    assert [record.args[0] for record in caplog.records] == source.paths[:1]
