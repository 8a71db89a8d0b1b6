"""Real data sets that are not part of the project, for anomalib's Folder, if a variable gives their location."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from anomalib.data import Folder
from PIL import Image

VARIABLES = {"bsdata": "DUALCLIP_BSDATA", "kolektorsdd": "DUALCLIP_KOLEKTORSDD"}


def folder_datamodule(name: str, root: Path, limit: int | None = None, batch_size: int = 8) -> Folder:
    """Return a Folder datamodule of links below `root`, with at most `limit` images of each kind; skip if unset."""
    source = os.environ.get(VARIABLES[name])
    if not source:
        pytest.skip(f"{VARIABLES[name]} does not name a folder with {name}")
    pairs = {"bsdata": _bsdata, "kolektorsdd": _kolektorsdd}[name](Path(source))
    counts = {"good": 0, "bad": 0}
    for image, mask in pairs:
        kind = "good" if mask is None else "bad"
        counts[kind] += 1
        if limit is not None and counts[kind] > limit:
            continue
        _link(image, root / kind / f"{image.parent.name}_{image.name}")
        if mask is not None:
            _link(mask, root / "mask" / f"{image.parent.name}_{image.stem}.png")
    return Folder(name=name, root=root, normal_dir="good", normal_test_dir="good", abnormal_dir="bad", mask_dir="mask",
                  val_split_mode="same_as_test", eval_batch_size=batch_size, num_workers=0)  # fmt: skip


def _bsdata(root: Path) -> list[tuple[Path, Path | None]]:
    masks = {path.stem: path for path in (root / "mask_rasterised").glob("*.png")}
    return [(image, masks.get(image.stem)) for image in sorted((root / "data").glob("*.jpg"))]


def _kolektorsdd(root: Path) -> list[tuple[Path, Path | None]]:
    masks = [(image, image.with_name(f"{image.stem}_label.png")) for image in sorted(root.rglob("Part*.jpg"))]
    return [(image, mask if _any_white(mask) else None) for image, mask in masks]


def _any_white(path: Path) -> bool:
    with Image.open(path) as mask:
        return mask.convert("L").getextrema()[1] > 0


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())
