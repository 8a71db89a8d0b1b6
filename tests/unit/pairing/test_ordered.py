from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import Folder, ImageItem, PredictDataset
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.transforms.v2 import Compose, Identity, Resize

from dualclip_lightning.pairing import OrderedDataset, image_names
from dualclip_lightning.pairing.items import read_item
from dualclip_lightning.pairing.ordered import innermost, unresized
from tests.towers import write_image, write_mvtec

ORDER = [3, 0, 2, 1]


class Stub(Dataset):
    """Data set of uniform images of different heights, with attributes that anomalib may read."""

    category = "screw"

    def __init__(self, masks: bool = True) -> None:
        self.masks = masks
        self.samples = pd.DataFrame({"image_path": [f"{i}.png" for i in range(4)]})
        self.collate_fn = list

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> ImageItem:
        mask = torch.zeros(20 + index, 30)
        mask[:10] = 1
        return ImageItem(
            image=torch.full((3, 20 + index, 30), index / 10),
            gt_mask=mask.to(torch.uint8) if self.masks else None,
            image_path=f"{index}.png",
        )


@pytest.mark.parametrize("masks", [True, False])
def test_items_come_in_the_order_given_and_at_one_size(masks):
    view = OrderedDataset(Stub(masks), ORDER, Resize((16, 24)))
    assert len(view) == 4
    for index, position in enumerate(ORDER):
        item = view[index]
        assert item.image_path == f"{position}.png"
        assert item.image.shape == (3, 16, 24)
        assert item.image.mean().item() == pytest.approx(position / 10)
        assert (item.gt_mask is not None) == masks


def test_masks_are_resized_with_their_image_and_stay_masks():
    mask = OrderedDataset(Stub(), ORDER, Resize((10, 15))).load(0).gt_mask
    assert mask.shape == (10, 15)
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask.float().mean().item() == pytest.approx(0.5)


def test_load_uses_positions_in_the_original_data_set():
    view = OrderedDataset(Stub(), ORDER, Identity())
    assert [view.load(i).image_path for i in range(4)] == ["0.png", "1.png", "2.png", "3.png"]


def test_all_other_attributes_are_those_of_the_data_set():
    stub = Stub()
    view = OrderedDataset(stub, ORDER, Identity())
    assert view.category == "screw"
    assert view.samples is stub.samples
    assert view.collate_fn is stub.collate_fn
    assert image_names(view) == ["0.png", "1.png", "2.png", "3.png"]
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = view.nothing_of_the_kind


def test_survives_pickling():
    view = pickle.loads(pickle.dumps(OrderedDataset(Stub(), ORDER, Resize((8, 8)))))  # noqa: S301 - made right here
    assert view[0].image_path == "3.png"
    assert view.category == "screw"


def test_names_of_anomalibs_kinds_of_data_set(tmp_path):
    write_mvtec(tmp_path, "screw", normal=2, anomalous=1)
    folder = tmp_path / "screw" / "test"
    data = Folder("x", root=folder, normal_dir="good", abnormal_dir="scratch", normal_test_dir="good", num_workers=0)
    data.setup()
    assert image_names(data.test_data) == [str(path) for path in data.test_data.samples.image_path]
    paths = sorted(folder.rglob("*.png"))
    assert image_names(PredictDataset(folder)) == [str(path) for path in paths]
    assert image_names(SimpleNamespace()) is None


@pytest.mark.parametrize("content", [b"", b"plain text", "truncated"])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "broken.png"
    write_image(path, seed=0)
    path.write_bytes(path.read_bytes()[:200] if content == "truncated" else content)
    with pytest.raises(ValueError, match=r"broken\.png.*Repair or remove"):
        read_item(PredictDataset(tmp_path), 0)


def test_a_16_bit_image_is_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 60).astype(np.uint16).reshape(6, 10)
    Image.fromarray(values).save(tmp_path / "deep.png")
    dataset = PredictDataset(tmp_path)
    assert dataset[0].image.mean() > 0.9  # anomalib clips
    np.testing.assert_allclose(read_item(dataset, 0).image.numpy(), np.stack([values / 65535] * 3), atol=1e-6)


def test_a_resizing_that_anomalib_has_put_into_the_augmentations_is_left_to_the_view(tmp_path):
    """The resizing is removed only in the view; the data set, its subsets and their concatenation do not change."""
    write_mvtec(tmp_path, "screw")
    folder = Folder(name="own", root=tmp_path / "screw" / "test", normal_dir="good", abnormal_dir="scratch",
                    mask_dir=tmp_path / "screw" / "ground_truth" / "scratch")  # fmt: skip
    folder.setup()
    resize = Resize((16, 24))
    data = folder.test_data
    for own, left in ((resize, None), (Compose([Identity(), resize]), 1), (Compose([resize, Identity()]), 2)):
        data.augmentations = own
        whole = ConcatDataset([Subset(data, [1, 0]), data])
        view = unresized(whole, Compose([resize]))
        found = [part.augmentations for part in innermost(view)]
        assert [part.augmentations for part in innermost(whole)] == [own, own]
        assert [None if each is None else len(each.transforms) for each in found] == [left, left]
