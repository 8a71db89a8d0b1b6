"""A folder of folders as one data set with categories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from anomalib.data import Folder
from anomalib.data.utils import TestSplitMode, ValSplitMode
from torchvision.datasets.folder import IMG_EXTENSIONS

from dualclip_lightning.data.categories import check_category

LAYOUTS = "{good,bad,masks} or MVTec AD's {train/good,test/<defect>,ground_truth/<defect>}"


class Parts(NamedTuple):
    """The folders of one category."""

    train: Path | None
    """Normal images to train on; None if there are none."""
    good: Path
    bad: list[Path]
    masks: list[Path]
    """One per folder of defects, in the same order; empty if the category has no masks."""


class Folders(Folder):
    """Data set whose categories are the folders below `root`, each in one of two layouts.

    - ``<category>/good``, ``bad`` and, for pixel metrics, ``masks``, all for testing, and an optional ``train`` with
      normal images;
    - MVTec AD's layout: ``<category>/train/good``, ``test/good``, ``test/<defect>`` and ``ground_truth/<defect>``.

    A mask has the name of its image, or that name with an ending such as ``_mask``. All normal and anomalous images
    outside the training folder are tested.

    Args:
        root: folder of the categories.
        category: name of one of them; None if there is only one.
        eval_batch_size: number of images in a batch.
        num_workers: number of workers that load images.

    Raises:
        FileNotFoundError: the root does not exist or has no categories.
        ValueError: the category is unknown or missing, or its folders do not fit a layout.

    Example:
        >>> from dualclip_lightning.data import Demo, Folders
        >>> demo = Demo(category="cork")
        >>> demo.prepare_data()
        >>> Folders(demo.root, category="cork").category
        'cork'
    """

    def __init__(
        self, root: Path | str, category: str | None = None, eval_batch_size: int = 32, num_workers: int = 0
    ) -> None:
        known = self.find_categories(root)
        if category is None and len(known) > 1:
            msg = f"Expected a category of '{root}', which has {', '.join(known)}. Set category to one of them."
            raise ValueError(msg)
        chosen = known[0] if category is None else category
        check_category(f"'{root}'", chosen, known)
        parts = find_parts(Path(root).expanduser() / chosen)
        self.has_training_images = parts.train is not None
        super().__init__(
            name="Folders", root=Path(root).expanduser().absolute(),
            normal_dir=(parts.train or parts.good).absolute(), normal_test_dir=parts.good.absolute(),
            abnormal_dir=[path.absolute() for path in parts.bad] or None,
            mask_dir=[path.absolute() for path in parts.masks] or None,
            eval_batch_size=eval_batch_size, num_workers=num_workers,
            test_split_mode=TestSplitMode.FROM_DIR, val_split_mode=ValSplitMode.SAME_AS_TEST,
        )  # fmt: skip
        self._category = chosen

    @staticmethod
    def find_categories(root: Path | str) -> list[str]:
        """Return the names of the folders below a root that contain images, sorted.

        Raises:
            FileNotFoundError: the root does not exist or has no such folders.
        """
        root = Path(root).expanduser()
        folders = [path for path in root.iterdir() if _is_visible(path)] if root.is_dir() else []
        found = sorted(path.name for path in folders if _has_images(path))
        if not found:
            reason = "has no folders with images" if root.is_dir() else "does not exist"
            msg = f"'{root}' {reason}. Expected a folder for each category, with {LAYOUTS}."
            raise FileNotFoundError(msg)
        return found

    def _setup(self, _stage: str | None = None) -> None:
        super()._setup(_stage)
        if not self.has_training_images:  # anomalib's Folder requires some, and test images must not be used
            del self.train_data

    def train_dataloader(self) -> Any:
        """Return the loader of the normal training images.

        Raises:
            ValueError: the category has none.
        """
        if not self.has_training_images:
            folder = Path(str(self.root), self.category)
            msg = f"'{folder}' has no images to train on. Put normal ones into its folder 'train'."
            raise ValueError(msg)
        return super().train_dataloader()


def find_parts(category: Path) -> Parts:
    """Return the folders of a category, after checking that they fit a layout.

    Raises:
        ValueError: neither layout fits, a folder has no images, or a mask is missing.
    """
    parts = _mvtec(category) if (category / "test").is_dir() else _plain(category)
    for folder in filter(None, [parts.train, parts.good, *parts.bad]):
        if not _images(folder):
            msg = (
                f"'{folder}' has no images. Expected '{category}' to hold {LAYOUTS}. If it is not a category, move it "
                f"out of '{category.parent}', or select the categories by name."
            )
            raise ValueError(msg)
    for bad, masks in zip(parts.bad, parts.masks, strict=False):
        _check_masks(bad, masks)
    return parts


def _plain(category: Path) -> Parts:
    train, bad, masks = (category / name for name in ("train", "bad", "masks"))
    return Parts(
        train if train.is_dir() else None,
        category / "good",
        [bad],
        [masks] if masks.is_dir() else [],
    )


def _mvtec(category: Path) -> Parts:
    train, truth = category / "train" / "good", category / "ground_truth"
    bad = sorted(path for path in (category / "test").iterdir() if _is_visible(path) and path.name != "good")
    masks = [truth / path.name for path in bad] if truth.is_dir() else []
    return Parts(train if train.is_dir() else None, category / "test" / "good", bad, masks)


def _check_masks(bad: Path, masks: Path) -> None:
    """Check that masks and images correspond in sorted order, by which anomalib's Folder assigns them."""
    images, drawn = _images(bad), _images(masks)
    if len(images) != len(drawn) or any(a.stem not in b.stem for a, b in zip(images, drawn, strict=False)):
        stems = {path.stem for path in drawn} | {path.stem.rpartition("_")[0] for path in drawn}
        without = [path.name for path in images if path.stem not in stems]
        which = f"{without[0]} has none" if without else f"there are {len(drawn)} masks of {len(images)} images"
        msg = f"Expected one mask in '{masks}' for each image in '{bad}', with the name of the image, but {which}."
        raise ValueError(msg)


def _images(folder: Path) -> list[Path]:
    return sorted(_listed(folder))


def _listed(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)


def _has_images(category: Path) -> bool:
    """Return whether a category has images in the folders of a layout, which may be links."""
    return any(any(_listed(folder)) for folder in (category, *category.glob("*"), *category.glob("*/*")))


def _is_visible(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
