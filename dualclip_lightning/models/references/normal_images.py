"""Choice of the normal images of few-shot methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dualclip_lightning.models.references.bank import folder_images
from dualclip_lightning.pairing import image_names
from dualclip_lightning.utilities.arguments import check_whole
from dualclip_lightning.utilities.seeding import derive_seed


def normal_images(k_shot: int, seed: int, reference_dir: str | Path | None, datamodule: Any) -> list[str]:
    """Return the paths of `k_shot` normal images, drawn with the seed from a folder or from the training images.

    Raises:
        ValueError: there is neither a folder nor a datamodule with training images, or there are too few images.
    """
    if reference_dir is not None:
        names = folder_images(reference_dir)
    else:
        found = image_names(getattr(datamodule, "train_data", None))
        if found is None:
            msg = f"k_shot={k_shot} needs normal images. Set reference_dir to a folder of them."
            raise ValueError(msg)
        names = sorted(found)
    if len(names) < k_shot:
        source = reference_dir or "the training images of the data"
        msg = f"Expected {k_shot} normal images for k_shot, but {source} has {len(names)}. Lower k_shot."
        raise ValueError(msg)
    generator = torch.Generator().manual_seed(derive_seed(seed, "normal images"))
    drawn = torch.randperm(len(names), generator=generator)[:k_shot].tolist()
    return [names[i] for i in drawn]


def check_shots(k_shot: int, reference_dir: str | Path | None) -> None:
    """Check the number of normal images.

    Raises:
        ValueError: the number is not an integer, is below 0, or is 0 with a folder of normal images.
    """
    check_whole("k_shot", k_shot, 0 if reference_dir is None else 1)
