"""Preprocessing of images for a CLIP model: size, interpolation, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from open_clip.constants import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    INCEPTION_MEAN,
    INCEPTION_STD,
    OPENAI_DATASET_MEAN,
    OPENAI_DATASET_STD,
)
from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, Normalize, Resize, Transform

from dualclip_lightning.utilities.arguments import check_size

Triple = tuple[float, float, float]
PreprocessingChoice = str | dict[str, Any] | None
ResizeMode = Literal["squash", "crop", "tiles"]

KEYS = ("mean", "std", "interpolation")
INTERPOLATIONS = ("bicubic", "bilinear")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "openai": {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD, "interpolation": "bicubic"},
    "imagenet": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "interpolation": "bicubic"},
    "inception": {"mean": INCEPTION_MEAN, "std": INCEPTION_STD, "interpolation": "bicubic"},
}
"""Published preprocessing by its name in open_clip; most CLIP weights, including LAION's, use "openai"."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of one set of weights, for images in [0, 1]."""

    mean: Triple
    std: Triple
    interpolation: str
    size: tuple[int, int]
    """Height and width in pixels."""

    def at_size(self, size: int | tuple[int, int] | None) -> Preprocessing:
        """Return this preprocessing at another size in pixels, one side or height and width; None keeps the size."""
        if size is None:
            return self
        check_size("image_size", size)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return replace(self, size=(int(height), int(width)))

    def geometry(self, mode: ResizeMode) -> list[Transform]:
        """Return only the resizing transforms for a mode.

        "squash" resizes the whole image to the size, so that every pixel is scored; "crop" resizes the short side and
        crops the centre, as open_clip does, which keeps the aspect ratio but ignores the rest; "tiles" resizes the
        short side without cropping, for a method that cuts tiles itself. They agree on square images.

        Raises:
            ValueError: the mode is unknown, or "crop" or "tiles" is used with a size that is not square.
        """
        interpolation = InterpolationMode(self.interpolation)
        if mode == "squash":
            return [Resize(self.size, interpolation=interpolation, antialias=True)]
        if mode not in {"crop", "tiles"}:
            msg = f"Expected resize to be 'squash' or 'crop', but got '{mode}'."
            raise ValueError(msg)
        if self.size[0] != self.size[1]:
            msg = f"resize='{mode}' needs a square image_size, but got {self.size}. Set resize='squash' or one side."
            raise ValueError(msg)
        short_side: Transform = Resize(self.size[0], interpolation=interpolation, antialias=True)
        return [short_side, CenterCrop(self.size)] if mode == "crop" else [short_side]

    def transform(self, mode: ResizeMode) -> Compose:
        """Return the resizing and normalisation of images [..., 3, H, W] in [0, 1]."""
        return Compose([*self.geometry(mode), Normalize(mean=list(self.mean), std=list(self.std))])


def resolve_preprocessing(stated: Mapping[str, Any] | None, chosen: PreprocessingChoice, where: str) -> dict[str, Any]:
    """Merge the mean, std and interpolation that the weights state with the user's choice, which takes precedence.

    Args:
        stated: mean, std and interpolation that the weights state; {} means "openai"; None if they state nothing.
        chosen: a name of `PRESETS`, or a mapping with some of mean, std and interpolation ("bicubic" or "bilinear");
            missing entries are taken from `stated`, or bicubic. None means `stated`.
        where: the name of the weights, for messages.

    Raises:
        ValueError: the preprocessing is not stated anywhere, or the choice is unknown or incomplete.
    """
    if isinstance(chosen, str):
        if chosen not in PRESETS:
            msg = f"Unknown preprocessing '{chosen}'. Expected one of {', '.join(PRESETS)}, or mean and std."
            raise ValueError(msg)
        chosen = dict(PRESETS[chosen])
    if not isinstance(chosen, Mapping | None):
        msg = f"Expected preprocessing to be one of {', '.join(PRESETS)}, or mean and std, but got {chosen!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments
    _check_choice(chosen or {})
    if stated is None and chosen is None:
        msg = (
            f"The weights '{where}' do not say how images were prepared for them, and a wrong guess gives wrong scores "
            "silently. Set preprocessing='openai' if they were trained as OpenAI's or LAION's CLIP, another of "
            f"{', '.join(PRESETS)}, or mean and std."
        )
        raise ValueError(msg)
    values = {**PRESETS["openai"], **_known(stated or {})} if stated is not None else {"interpolation": "bicubic"}
    values.update(_known(chosen or {}))
    if not {"mean", "std"} <= set(values):
        msg = f"Expected preprocessing with 'mean' and 'std', but got {sorted(chosen or {})}."
        raise ValueError(msg)
    return {**values, "mean": _triple("mean", values["mean"]), "std": _triple("std", values["std"])}


def _check_choice(chosen: Mapping[str, Any]) -> None:
    unknown = sorted(set(chosen) - set(KEYS))
    if unknown:
        msg = f"Unknown key(s) of preprocessing: {', '.join(unknown)}. Expected some of {', '.join(KEYS)}."
        raise ValueError(msg)
    if chosen.get("interpolation", "bicubic") not in INTERPOLATIONS:
        wanted = " or ".join(map(repr, INTERPOLATIONS))
        msg = f"Expected the interpolation of preprocessing to be {wanted}, but got {chosen['interpolation']!r}."
        raise ValueError(msg)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in KEYS if values.get(key)}


def _triple(name: str, values: Any) -> Triple:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != 3 or (name == "std" and min(numbers) <= 0):  # noqa: PLR2004
        msg = f"Expected preprocessing {name} to be three {'positive ' * (name == 'std')}numbers, but got {values}."
        raise ValueError(msg)
    return numbers
