from __future__ import annotations

import hashlib
import json
from functools import partialmethod
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from anomalib.data import AnomalibDataModule, MVTecAD
from jsonargparse import ArgumentParser
from PIL import Image

from dualclip_lightning.data import Demo
from dualclip_lightning.demo.data import datamodule, samples
from dualclip_lightning.demo.data.assets import ASSETS, CATEGORIES, MATERIALS, REAL
from dualclip_lightning.demo.data.datamodule import demo_folder, generate_demo
from dualclip_lightning.demo.data.samples import KINDS, board_mask, make_category


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Compression takes most of the time and changes no pixel.
        patch.setattr(Image.Image, "save", partialmethod(Image.Image.save, compress_level=1))
        return generate_demo(tmp_path_factory.mktemp("demo") / "data")


@pytest.fixture
def small(monkeypatch):
    """Limit the demo to one material with few images, which is quick to generate."""
    monkeypatch.setattr(datamodule, "CATEGORIES", ("cork",))
    monkeypatch.setattr(samples, "GOOD_IMAGES", 2)


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(path, mode=None):
    with Image.open(path) as image:
        return np.asarray(image.convert(mode or image.mode))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_images(small, tmp_path):
    first, again, other = (digests(generate_demo(tmp_path / f"{i}", seed)) for i, seed in enumerate((0, 0, 1)))
    assert first == again
    assert first.keys() == other.keys()
    images = [name for name in first if "/test/" in name]
    assert len(images) == 2 + 2 * len(KINDS)
    assert all(first[name] != other[name] for name in images)


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_is_reproducible_and_another_seed_changes_only_the_materials(root, category):
    again, other = [*make_category(category, 0)], [*islice(make_category(category, 1), 8)]
    for number, sample in enumerate(again):
        folder, name = root / category, f"{number:03}"
        assert np.array_equal(sample.image, read(folder / sample.folder / f"{name}.png"))
        if sample.mask is not None:
            mask = folder / "ground_truth" / sample.folder.removeprefix("test/") / f"{name}_mask.png"
            assert np.array_equal(sample.mask, read(mask) > 0)
    assert len(list((root / category).glob("t*/*/*.png"))) == len(again)
    same = {np.array_equal(one.image, two.image) for one, two in zip(again, other, strict=False)}
    assert same == {category in REAL}


@pytest.mark.parametrize("category", CATEGORIES)
def test_anomalib_reads_it_as_mvtec_with_a_mask_for_every_defect(root, category):
    data = MVTecAD(root=root, category=category, num_workers=0, eval_batch_size=64)
    data.setup()
    samples = data.test_data.samples
    good = samples[samples.label_index == 0]
    assert len(data.train_data) == 4
    assert 10 <= len(good) <= 20
    assert 12 <= len(samples) - len(good) <= 24
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(batch.gt_mask.flatten(1).any(1), batch.gt_label)


@pytest.mark.parametrize("category", MATERIALS)
def test_a_material_has_every_kind_of_defect(root, category):
    assert {path.name for path in (root / category / "test").iterdir()} == {"good", *KINDS}
    assert {path.name for path in (root / category / "ground_truth").iterdir()} == set(KINDS)


@pytest.mark.parametrize("category", CATEGORIES)
def test_images_are_rgb_of_one_size_and_no_two_are_equal(root, category):
    paths = sorted((root / category).glob("t*/*/*.png"))
    images = [read(path) for path in paths]
    assert {image.shape for image in images} == {
        {"pcb": (320, 320, 3), "spindle": (240, 590, 3)}.get(category, (128, 128, 3))
    }
    assert len({image.tobytes() for image in images}) == len(paths)


@pytest.mark.parametrize("category", CATEGORIES)
def test_masks_are_0_or_255_at_the_size_of_their_image(root, category):
    for path in (root / category / "ground_truth").glob("*/*.png"):
        mask = read(path)
        assert set(np.unique(mask)) == {0, 255}
        image = root / category / "test" / path.parent.name / path.name.replace("_mask", "")
        assert mask.shape == read(image).shape[:2]


def test_a_board_outside_its_mask_is_its_template_up_to_its_edges(root):
    boards = [sample for sample in make_category("pcb") if sample.mask is not None]
    templates = [read(path, "L") for path in sorted((ASSETS / "pcb").glob("*_template.png"))]
    assert len(boards) == len(templates) >= 12
    for (_, image, mask), template in zip(boards, templates, strict=True):
        different = (image[..., 0] > 127) != (template > 127)
        assert different[mask].all()
        assert (different & ~mask).mean() < 0.03


def test_real_categories_have_the_documented_number_of_images(root):
    counts = {
        category: [
            len(list((root / category).glob(f"{part}/*.png"))) for part in ("train/good", "test/good", "test/[!g]*")
        ]
        for category in REAL
    }
    assert counts == {"pcb": [4, 14, 14], "spindle": [4, 16, 17]}


def test_a_spindles_mask_is_that_of_its_image_and_lies_inside_it():
    pitted = [sample for sample in make_category("spindle") if sample.mask is not None]
    masks = [read(path) > 0 for path in sorted((ASSETS / "spindle").glob("*_mask.png"))]
    photographs = [read(path) for path in sorted((ASSETS / "spindle").glob("*_pitting.jpg"))]
    for (_, image, mask), own, photograph in zip(pitted, masks, photographs, strict=True):
        assert np.array_equal(mask, own)
        assert np.array_equal(image, photograph)
        assert 0 < mask.mean() < 0.02


def test_pitting_is_darker_than_what_lies_around_it():
    contrasts = []
    for _, image, mask in (sample for sample in make_category("spindle") if sample.mask is not None):
        around = (cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0) & ~mask
        contrasts.append(float(image[mask].mean()) - float(image[around].mean()))
    assert np.mean(contrasts) < -20


def test_normal_and_defective_images_show_different_boards():
    names = [path.stem.split("_") for path in (ASSETS / "pcb").glob("*.png")]
    sound, defective = (
        {name for name, kind in names if (kind in {"good", "train"}) == wanted} for wanted in (True, False)
    )
    boxes = json.loads((ASSETS / "pcb" / "boxes.json").read_text())
    assert not sound & defective
    assert defective == set(boxes)


def test_board_mask_keeps_the_defect_and_drops_what_is_outside_boxes_or_one_pixel_thin():
    template = np.zeros((40, 40), np.uint8)
    template[:, 20:] = 255
    test = template.copy()
    test[5:9, 5:9] = 255  # a defect
    test[4:30, 19] = 255  # an edge displaced by one pixel, partly inside the box
    test[35:38, 5:8] = 255  # a difference without annotation
    expected = np.zeros((40, 40), bool)
    expected[5:9, 5:9] = True
    assert np.array_equal(board_mask(test, template, [[2, 2, 24, 14, 5]]), expected)


def test_board_mask_keeps_a_thin_defect_that_is_the_only_one_in_its_box():
    template = np.zeros((40, 40), np.uint8)
    test = template.copy()
    test[10, 5:15] = 255
    assert np.array_equal(board_mask(test, template, [[2, 5, 20, 15, 2]]), test > 0)


def test_a_generation_that_fails_leaves_nothing_behind(small, tmp_path, monkeypatch):
    def fail_midway(category, seed):
        yield from list(make_category(category, seed))[:3]
        raise KeyboardInterrupt

    monkeypatch.setattr(datamodule, "make_category", fail_midway)
    with pytest.raises(KeyboardInterrupt):
        generate_demo(tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_an_existing_demo_is_kept_and_an_empty_folder_is_filled(small, tmp_path):
    image = generate_demo(tmp_path) / "cork" / "test" / "good" / "004.png"
    written = image.stat().st_mtime_ns
    assert generate_demo(tmp_path) == tmp_path
    assert image.stat().st_mtime_ns == written


def test_a_folder_with_other_content_is_refused_and_not_changed(small, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not the demo data of seed 0. Delete it or choose another folder"):
        generate_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_with_the_demo_of_another_seed_is_refused(small, tmp_path):
    generate_demo(tmp_path / "data", seed=0)
    with pytest.raises(ValueError, match="not the demo data of seed 1"):
        generate_demo(tmp_path / "data", seed=1)


def test_two_processes_may_generate_at_once(small, tmp_path, monkeypatch):
    write = datamodule._write_demo

    def overtaken(root, seed):
        write(root, seed)
        if not (tmp_path / "data").exists():
            write(tmp_path / "data", seed)

    monkeypatch.setattr(datamodule, "_write_demo", overtaken)
    assert (generate_demo(tmp_path / "data") / "cork").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_datamodule_generates_into_the_cache_and_keeps_every_test_image(small, monkeypatch, tmp_path):
    monkeypatch.setenv("DUALCLIP_CACHE", str(tmp_path))
    data = Demo(category="cork", eval_batch_size=4)
    data.prepare_data()
    data.setup()
    assert data.root == demo_folder() == tmp_path / "demo" / f"v{datamodule.VERSION}-seed0"
    assert len(data.test_data) == 2 + 2 * len(KINDS)
    assert len(next(iter(data.test_dataloader())).image) == 4


def test_the_datamodule_generates_into_a_folder_of_the_users_choice(small, tmp_path):
    data = Demo(root=tmp_path / "here", category="cork", seed=3)
    data.prepare_data()
    assert json.loads((tmp_path / "here" / "demo.json").read_text())["seed"] == 3


def test_the_command_line_finds_the_datamodule_by_its_path():
    parser = ArgumentParser()
    parser.add_subclass_arguments(AnomalibDataModule, "data")
    parsed = parser.parse_args(["--data", "dualclip_lightning.data.Demo", "--data.category", "cork"])
    data = parser.instantiate_classes(parsed).data
    assert isinstance(data, Demo)
    assert data.category == "cork"


def test_an_unknown_category_names_the_nearest():
    with pytest.raises(ValueError, match=r"'terazzo'. Did you mean 'terrazzo'\? Expected one of bamboo.*pcb, spindle"):
        Demo(category="terazzo")
