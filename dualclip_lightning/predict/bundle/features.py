"""Features of references as arrays, and back, without loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, takewhile
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from dualclip_lightning.predict.bundle.file import Arrays
from dualclip_lightning.predict.input.reader import PatchSet, Reference

PARTS = ("places", "class_embeddings")
"""Fields of a `PatchSet` that are one tensor each, in its order."""


def to_arrays(references: Sequence[Reference], method: str) -> dict[str, npt.NDArray[Any]]:
    """Return the features of references.

    Raises:
        ValueError: If the method has no features of images, only the images.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    for i, reference in enumerate(references):
        if not isinstance(reference, PatchSet):
            msg = f"A bundle holds features and no pictures, but {method} compares whole images. Use DualImageCLIP."
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments
        for k, descriptors in enumerate(reference.descriptors):
            found[f"{i}.descriptors.{k}"] = _array(descriptors)
        found |= {f"{i}.{part}": _array(getattr(reference, part)) for part in PARTS}
    return found


def from_arrays(names: Sequence[str], arrays: Arrays) -> list[PatchSet]:
    """Return the references of which `to_arrays` gave the features, on the CPU.

    Raises:
        KeyError: If an array is missing.
    """
    return [
        PatchSet(name, _descriptors(i, arrays), *(torch.from_numpy(arrays[f"{i}.{part}"]) for part in PARTS))
        for i, name in enumerate(names)
    ]


def _descriptors(number: int, arrays: Arrays) -> tuple[Tensor, ...]:
    keys = takewhile(arrays.__contains__, (f"{number}.descriptors.{k}" for k in count()))
    return tuple(torch.from_numpy(arrays[key]) for key in keys)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()
