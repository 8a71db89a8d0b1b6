"""A bank of references: the same images for every image of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.models.references.data import readable
from dualclip_lightning.models.references.per_image import PerImage, ReadImages

logger = logging.getLogger(__name__)


class Bank(PerImage):
    """References that are the same images for every image, encoded when a run starts.

    Args:
        model: model as for `PerImage`, which also has `set_references(images, names)`.
        choose: function from the datamodule of the run (or None) to the paths of the references.
        named: whether the model also takes the paths of the images.
    """

    def __init__(self, model: Any, choose: Callable[[Any], Sequence[str]], *, named: bool = True) -> None:
        super().__init__(model, named=named)
        self.choose = choose

    def encode(self, read: ReadImages, datamodule: Any = None) -> None:
        """Read and encode the images."""
        names = self.choose(datamodule)
        self.model.set_references(read(names), names)
        self.files = tuple(names)


def folder_images(folder: str | Path, datamodule: Any = None) -> list[str]:
    """Return the paths of all readable images of a folder; a warning names the others.

    Raises:
        ValueError: it is not a folder, or it has no readable image.
    """
    del datamodule
    try:
        listing = find_images([folder])
        for sentence in (listing.left_out, *(f"{name}: {reason}" for name, reason in listing.unreadable.items())):
            if sentence is not None:
                logger.warning(sentence)
        names = [str(path) for path in listing.paths]
        return [names[i] for i in readable(names)]
    except (FileNotFoundError, ValueError) as error:
        msg = f"Expected reference_dir '{folder}' to be a folder with at least one readable image. {error}"
        raise ValueError(msg) from error
