"""Items of anomalib's data sets, with images read by the reader of this package."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import torch
from anomalib.data import Folder, ImageItem, PredictDataset
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision.transforms.v2 import Identity, Resize

from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.images.reading.tensors import to_tensor
from dualclip_lightning.pairing import OrderedDataset
from dualclip_lightning.pairing.items import read_item
from tests.hostile_images import SOUND, encoded, exif, picture

DEEP = np.random.default_rng(0).integers(0, 65536, (40, 56, 3), dtype=np.uint16)


def write_folder(root, image: bytes, mask_size: tuple[int, int]) -> Folder:
    """Write a data set with a normal and an anomalous image, which are the same file, and a mask of a given size."""
    for part in ("good", "bad", "mask"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "good" / "0.jpg").write_bytes(image)
    (root / "bad" / "1.jpg").write_bytes(image)
    mask = np.zeros(mask_size, np.uint8)
    mask[:5, :7] = 255
    Image.fromarray(mask).save(root / "mask" / "1.png")
    data = Folder("x", root=root, normal_dir="good", abnormal_dir="bad", mask_dir="mask", normal_test_dir="good",
                  num_workers=0)  # fmt: skip
    data.setup()
    return data


def same(found: ImageItem, expected: ImageItem) -> None:
    assert torch.equal(found.image, expected.image)
    assert found.image_path == expected.image_path
    assert found.mask_path == expected.mask_path
    for name in ("gt_mask", "gt_label"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or (torch.equal(ours, theirs) and ours.dtype == theirs.dtype)


@pytest.mark.parametrize("augmentations", [None, Resize((20, 30))])
def test_plain_images_are_the_items_of_anomalib(tmp_path, augmentations):
    data = write_folder(tmp_path, encoded(picture(), "JPEG"), (40, 56)).test_data
    data.augmentations = augmentations
    for position in range(len(data)):
        same(read_item(data, position), data[position])
    prediction = PredictDataset(tmp_path / "good", transform=augmentations)
    same(read_item(prediction, 0), prediction[0])


def test_images_and_masks_are_upright(tmp_path):
    turned = encoded(picture(), "JPEG", exif=exif(6))
    data = write_folder(tmp_path, turned, (56, 40)).test_data
    for position in range(len(data)):
        item = read_item(data, position)
        assert item.image.shape == (3, 56, 40)
        assert item.gt_mask.shape == (56, 40)
        assert bool(item.gt_mask.any()) == bool(item.gt_label)


def test_a_mask_drawn_before_exif_turned_the_image_is_refused_with_a_remedy(tmp_path):
    turned = encoded(picture(), "JPEG", exif=exif(6))
    data = write_folder(tmp_path, turned, (40, 56)).test_data
    bad = next(i for i in range(len(data)) if "bad" in data.samples.iloc[i].image_path)
    with pytest.raises(ValueError, match=r"1\.jpg.*mask.*is 56x40, but .*upright is 40x56\. Rotate the mask"):
        read_item(data, bad)


def test_a_loader_reads_the_same_bytes(tmp_path):
    for name, (content, _) in SOUND.items():
        if "\n" not in name:
            (tmp_path / name).write_bytes(content)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(DEEP))
    dataset = PredictDataset(tmp_path)
    assert len(dataset) > 10
    view = OrderedDataset(dataset, range(len(dataset)), Identity())
    items = [item for batch in DataLoader(view, 3, collate_fn=list) for item in batch]
    for item in items:
        assert torch.equal(item.image, to_tensor(read_picture(item.image_path).pixels))


class Own(Dataset):
    """Custom data set that multiplies its images by `change`; 1 leaves them as anomalib reads them."""

    def __init__(self, dataset: Dataset, change: float, names: list[str] | None = None) -> None:
        self.image_filenames = names or dataset.image_filenames
        self.dataset = dataset
        self.change = change

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> ImageItem:
        item = self.dataset[index]
        item.image = item.image * self.change
        return item


@pytest.mark.parametrize("change", [1.0, 0.5])
def test_a_custom_data_set_keeps_its_changes_of_an_image(tmp_path, change):
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(DEEP))
    (tmp_path / "turned.jpg").write_bytes(encoded(picture(), "JPEG", exif=exif(6)))
    own = Own(PredictDataset(tmp_path), change)
    for position, path in enumerate(own.image_filenames):
        found = read_item(own, position).image
        expected = to_tensor(read_picture(path).pixels) if change == 1 else own[position].image
        assert torch.equal(found, expected)


def test_ambiguous_images_are_refused_in_a_custom_data_set_too(tmp_path):
    Image.fromarray(np.full((4, 5), 200, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif.*int32, whose range is not known"):
        read_item(Own(PredictDataset(tmp_path), 1.0), 0)


def test_masks_of_a_custom_data_set_are_rotated_or_refused_too(tmp_path):
    data = write_folder(tmp_path, encoded(picture(), "JPEG", exif=exif(6)), (40, 56)).test_data
    own = Own(data, 1.0, list(data.samples.image_path))
    normal = next(i for i, path in enumerate(own.image_filenames) if "good" in path)
    item = read_item(own, normal)
    assert item.image.shape == (3, 56, 40)
    assert item.gt_mask.shape == (56, 40)
    assert not item.gt_mask.any()
    with pytest.raises(ValueError, match="Rotate the mask"):
        read_item(own, 1 - normal)


def test_subsets_and_concatenations_are_looked_through(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(imagecodecs.png_encode(np.full((4, 5, 3), 1000 * number, np.uint16)))
    parts = [Subset(PredictDataset(tmp_path), [3, 1]), PredictDataset(tmp_path / "2.png")]
    whole = Subset(ConcatDataset(parts), [2, 0, 1])
    found = [read_item(whole, position) for position in range(3)]
    assert [item.image_path[-5] for item in found] == ["2", "3", "1"]
    assert [round(item.image.max().item() * 65.535) for item in found] == [2, 3, 1]
