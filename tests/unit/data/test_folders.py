from __future__ import annotations

import numpy as np
import pytest
from anomalib.data import MVTecAD
from PIL import Image

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.data.folders import Folders
from tests.tiny_benchmark import tiny_config
from tests.towers import write_mvtec


def write(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((8, 8), len(name), np.uint8)).save(folder / name)


@pytest.fixture
def root(tmp_path):
    for category in ("bolt", "steel_plate"):
        write(tmp_path / category / "good", "a.png", "b.jpg")
        write(tmp_path / category / "bad", "0.png", "1.png")
        write(tmp_path / category / "masks", "0_mask.png", "1_mask.png")
    write(tmp_path / "bolt" / "train", "n.png")
    return tmp_path


def samples(data):
    frame = data.test_data.samples
    return {(path, int(label), mask) for path, label, mask in zip(frame.image_path, frame.label_index, frame.mask_path)}  # noqa: B905


def test_every_image_outside_the_training_folder_is_tested_with_its_mask(root):
    data = Folders(root, "bolt")
    data.setup()
    place = root / "bolt"
    good = {(str(place / "good" / name), 0, "") for name in ("a.png", "b.jpg")}
    bad = {(str(place / "bad" / f"{n}.png"), 1, str(place / "masks" / f"{n}_mask.png")) for n in (0, 1)}
    assert samples(data) == good | bad
    assert [path.rpartition("/")[2] for path in data.train_data.samples.image_path] == ["n.png"]
    assert data.category == "bolt"


def test_without_a_training_folder_no_tested_image_is_trained_on(root):
    data = Folders(root, "steel_plate")
    data.setup()
    assert not hasattr(data, "train_data")
    assert len(data.test_data) == 4
    with pytest.raises(ValueError, match=r"no images to train on. Put normal ones into its folder 'train'"):
        data.train_dataloader()


def test_mvtecs_layout_has_the_samples_of_anomalibs_own_datamodule(tmp_path):
    write_mvtec(tmp_path, "metal_nut", normal=2, anomalous=3)
    ours, theirs = Folders(tmp_path), MVTecAD(root=tmp_path, category="metal_nut")
    for data in (ours, theirs):
        data.setup()
    assert samples(ours) == {(path, label, mask or "") for path, label, mask in samples(theirs)}
    assert set(ours.train_data.samples.image_path) == set(theirs.train_data.samples.image_path)


def test_a_benchmark_finds_all_categories(root):
    cells = plan(tiny_config("data", "demo", datasets={"mine": {"data": "Folders", "arguments": {"root": str(root)}}}))
    assert list(dict.fromkeys(cell.category for cell in cells)) == ["bolt", "steel_plate"]
    assert cells[0].datamodule().category == "bolt"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"categories": ["bold"]}, "'bold'. Did you mean 'bolt'"),
        ({"arguments": {"root": "absent"}}, "datasets.mine: 'absent' does not exist. Expected a folder for each"),
        ({"arguments": {}}, "Folders needs root"),
    ],
)
def test_a_benchmark_refuses_an_invalid_layout(root, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        tiny_config("data", "demo", datasets={"mine": {"data": "Folders", "arguments": {"root": str(root)}} | settings})


def test_an_invalid_layout_is_reported_in_one_sentence(root, tmp_path):
    with pytest.raises(ValueError, match=r"has no category 'bold'\. Did you mean 'bolt'"):
        Folders(root, "bold")
    with pytest.raises(ValueError, match=r"Expected a category of .* which has bolt, steel_plate"):
        Folders(root)
    (root / "bolt" / "masks" / "1_mask.png").unlink()
    with pytest.raises(ValueError, match=r"Expected one mask in .*masks' for each image .* but 1.png has none"):
        Folders(root, "bolt")
    (root / "steel_plate" / "good").rename(root / "steel_plate" / "normal")
    with pytest.raises(ValueError, match=r"good' has no images. Expected .* to hold {good,bad,masks}"):
        Folders(root, "steel_plate")
    with pytest.raises(FileNotFoundError, match="has no folders"):
        Folders(root / "bolt" / "bad")


def test_a_folder_without_images_is_no_category_and_one_with_other_images_is_named_with_the_remedy(root):
    (root / "results" / "logs").mkdir(parents=True)
    (root / "results" / "logs" / "notes.txt").touch()
    assert Folders.find_categories(root) == ["bolt", "steel_plate"]
    write(root / "results", "map.png")
    assert Folders.find_categories(root) == ["bolt", "results", "steel_plate"]
    with pytest.raises(ValueError, match=r"If it is not a category, move it out of .*, or select the categ"):
        Folders(root, "results")
    assert Folders(root, "bolt").category == "bolt"
