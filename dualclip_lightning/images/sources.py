"""Named images from all supported inputs, which are read when they are needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.images.finding.lists import LIST_SUFFIXES, expand_user
from dualclip_lightning.images.picture import ImageError, Picture
from dualclip_lightning.images.reading.arrays import InMemory, split_batch, to_pixels
from dualclip_lightning.images.reading.decoding import read_picture

logger = logging.getLogger(__name__)

Images = str | Path | InMemory | Iterable[str | Path | InMemory]
_ONE = (str, Path, Image.Image, np.ndarray, Tensor)


class Failure(NamedTuple):
    """Image that could not be scored.

    Example:
        >>> from dualclip_lightning.predict import Failure
        >>> Failure("shots/01.png", "it is empty.").reason
        'it is empty.'
    """

    name: str
    reason: str


class Source(NamedTuple):
    """Image with a name."""

    name: str
    load: Callable[[], Picture]
    """Function that reads the image; raises ImageError."""


class Sources(NamedTuple):
    """Named images, and those that are known to be unreadable."""

    images: list[Source]
    failures: list[Failure]
    single: bool
    """True for a single image rather than a collection."""

    def complete(self) -> list[Source]:
        """Return the images if all of them are readable as far as is known.

        Raises:
            ImageError: an image is unreadable; the message names the first.
        """
        for name, reason in self.failures:
            msg = f"Cannot use '{name}': {reason}"
            raise ImageError(msg)
        return self.images


def file_sources(paths: Iterable[Path], max_megapixels: float) -> list[Source]:
    """Return image files as sources, named by their paths."""
    return [Source(str(path), partial(read_picture, path, max_megapixels)) for path in paths]


def as_sources(images: Images, max_megapixels: float, called: str = "image") -> Sources:
    """Return the sources for a path to a file, folder, pattern or list; images in memory; or a sequence of those.

    Args:
        images: one image or several.
        max_megapixels: limit above which images are refused.
        called: name of an image in memory; a number is appended if there are several.

    Raises:
        FileNotFoundError: a path does not exist, or a folder contains no images.
        TypeError: an input is not an image.
    """
    if isinstance(images, str | Path):
        path = expand_user(images)
        if path.is_file() and path.suffix.lower() not in LIST_SUFFIXES:
            return Sources(file_sources([path], max_megapixels), [], single=True)
        listing = find_images([images])
        if listing.left_out:
            logger.warning(listing.left_out)
        failures = [Failure(name, reason) for name, reason in listing.unreadable.items()]
        return Sources(file_sources(listing.paths, max_megapixels), failures, single=False)
    batch = split_batch(images) if isinstance(images, np.ndarray | Tensor) else None
    if batch is None and isinstance(images, Image.Image | np.ndarray | Tensor):
        return Sources([_named(called, images, max_megapixels)], [], single=True)
    several: Sequence[Any] = batch if batch is not None else list(_iterable(images))
    return Sources(
        [_named(f"{called} {i}", image, max_megapixels) for i, image in enumerate(several)], [], single=False
    )


def can_be_images(images: object) -> bool:
    """Return whether `as_sources` accepts an object of this type; neither files nor pixels are read."""
    if isinstance(images, list | tuple):
        return all(isinstance(image, _ONE) for image in images)
    return isinstance(images, _ONE) or (isinstance(images, Iterable) and not isinstance(images, bytes | Mapping))


def _named(name: str, image: object, max_megapixels: float) -> Source:
    if isinstance(image, str | Path):
        return file_sources([expand_user(image)], max_megapixels)[0]
    if isinstance(image, Image.Image | np.ndarray | Tensor):
        return Source(name, partial(to_pixels, image, max_megapixels))
    msg = f"Expected a path, a Pillow image, an array or a tensor as {name}, but got {type(image).__name__}."
    raise TypeError(msg)


def _iterable(images: Any) -> Iterable[Any]:
    if isinstance(images, Iterable) and not isinstance(images, bytes | Mapping):
        return images
    msg = f"Expected a path, a Pillow image, an array, a tensor or several of them, but got {type(images).__name__}."
    raise TypeError(msg)
