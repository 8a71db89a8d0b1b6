"""Masks of defects: which pixels of a file are defective, and how a mask is resized to the size of a map.

Published code differs in the resizing rule, which changes PRO, because small regions vanish or survive:

    nearest   A pixel takes the value of the nearest pixel of the mask. The rule of torchvision and anomalib.
    bilinear  The mask is resized like an image, bilinearly with antialiasing, and thresholded at 0.5. Released code
              of AnoCLIP and CLIP-AD, and of zqhang/Accurate-WinCLIP-pytorch.
    full      Same as `bilinear`, but only entirely defective pixels count. Released code of MuSc for MVTec AD, which
              converts the resized mask to integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, Resize, Transform
from torchvision.tv_tensors import Mask

MaskRule = Literal["nearest", "bilinear", "full"]
RULES: tuple[MaskRule, ...] = get_args(MaskRule)
LEAST = {"bilinear": 128, "full": 255}
"""Smallest defective value from 0 to 255: more than one half, or the maximum."""
BILINEAR = InterpolationMode.BILINEAR
LABELS = 32
"""Largest number of grey values of a lossless mask of labels, where each value above 0 is a defect, as in VisA; a mask
with more values that does not reach white is one of labels, too."""
WHITE = {255, 65535}
LOSSY = {"JPEG", "JPEG2000", "MPO", "WEBP"}


def check_rule(rule: str) -> MaskRule:
    """Return the rule after checking it.

    Raises:
        ValueError: the rule is unknown.
    """
    if rule not in RULES:
        msg = f"Expected `masks` to be one of {', '.join(RULES)}, but got {rule!r}."
        raise ValueError(msg)
    return rule


def resize_mask(mask: Tensor, geometry: Transform, rule: MaskRule = "nearest") -> Mask:
    """Resize a mask [H, W], whose nonzero pixels are defective, in the same way as its image: [h, w] of zeros and ones.

    Args:
        mask: mask.
        geometry: transform of the image: Resize, CenterCrop, or several in a Compose.
        rule: resizing rule (see the module).
    """
    if rule == "nearest":
        return Mask((geometry(Mask(mask)) > 0).to(torch.uint8))
    drawn: Any = Image.fromarray((mask.reshape(mask.shape[-2:]) > 0).numpy().astype(np.uint8) * 255)
    for part in getattr(geometry, "transforms", [geometry]):
        # Pillow's resizing, as in the released code: it always averages when it shrinks an image.
        drawn = (Resize(part.size, BILINEAR, max_size=part.max_size) if isinstance(part, Resize) else part)(drawn)
    return Mask(torch.from_numpy(np.asarray(drawn) >= LEAST[rule]).to(torch.uint8))


class OddMask(NamedTuple):
    """Mask whose defects are not simply its values above 0."""

    path: str
    values: int
    """Number of distinct values."""
    counted: str
    """Description of the values that count as defective."""


def odd_masks(paths: Iterable[str | Path], threads: int = 4) -> list[OddMask]:
    """Return the masks that anomalib, which takes every value above 0 as defective, would misread. Decodes them all.

    Lossy compression and smooth edges cause grey values around a defect, and the background of a palette or colour
    image need not be black. Files that cannot be read are skipped.
    """
    with ThreadPoolExecutor(threads) as pool:
        return [odd for odd in pool.map(_look, map(str, paths)) if odd is not None]


def read_mask(path: str | Path) -> Mask:
    """Read the defective pixels of a mask: [H, W] of zeros and ones.

    Grey values of an odd mask are defective above half of the largest. Colours are defective unless they are the
    background: the first colour of the palette if the mask contains it, else the most frequent colour.
    """
    with Image.open(path) as image:
        judged = _judge(image)
        defective = np.asarray(image.convert("L")) > 0 if judged is None else judged.defective
    return Mask(torch.from_numpy(defective).to(torch.uint8))


def describe_odd(odd: Sequence[OddMask]) -> str:
    """Describe the odd masks of a data set in one sentence that names the first one and the remedy."""
    first = odd[0]
    return (
        f"{len(odd)} mask(s) are not of two values, the first '{first.path}' with {first.values}: {first.counted} "
        "count as defective. Save masks as PNG files of black and white."
    )


def mask_paths(dataset: Any) -> Iterator[str]:
    """Yield the mask files of an anomalib dataset."""
    samples = getattr(dataset, "samples", None)
    paths = [] if samples is None or "mask_path" not in samples else samples["mask_path"]
    yield from (str(path) for path in paths if isinstance(path, str | Path) and path and Path(path).is_file())


def _look(path: str) -> OddMask | None:
    try:
        with Image.open(path) as image:
            found = _judge(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # errors of Pillow
        return None  # reported when the item is read
    return None if found is None else OddMask(path, found.values, found.counted)


class _Judged(NamedTuple):
    defective: NDArray[np.bool_]
    values: int
    counted: str


def _judge(image: Image.Image) -> _Judged | None:
    """Return the defective pixels of a mask that `> 0` misreads; None for a plain one."""
    if image.mode == "1":
        return None
    if image.mode in {"L", "I", "I;16", "I;16B", "LA", "F"}:
        return _judge_grey(np.asarray(image.convert("L") if image.mode == "LA" else image), image.format in LOSSY)
    colours = np.asarray(image.convert("RGB")).astype(np.int32)
    if image.format in LOSSY or (colours == colours[..., :1]).all():
        return _judge_grey(np.asarray(image.convert("L")), image.format in LOSSY)
    return _judge_colours(colours @ (1 << 16, 1 << 8, 1), image)


def _judge_grey(values: NDArray[Any], lossy: bool) -> _Judged | None:
    quick = values.dtype == np.uint8  # counting takes a tenth of the time of sorting
    found = np.flatnonzero(np.bincount(values.ravel())) if quick else np.unique(values)
    background, highest = found[0], found[-1]
    if found.size == 1 or (found.size == 2 and not background):  # noqa: PLR2004  # two values
        return None
    if lossy or (found.size > LABELS and highest in WHITE):
        half = highest / 2
        return _Judged(values > half, found.size, f"those above {half:g}")
    return _Judged(values != background, found.size, f"those other than {background}") if background else None


def _judge_colours(codes: NDArray[np.int32], image: Image.Image) -> _Judged | None:
    found, counts = np.unique(codes, return_counts=True)
    if not found[0]:  # black, which is the background
        return None
    background = int(found[counts.argmax()])
    palette = image.getpalette() if image.mode == "P" else None
    if palette:
        first = int(np.array(palette[:3]) @ (1 << 16, 1 << 8, 1))
        background = first if first in found else background
    return _Judged(codes != background, found.size, f"those other than the colour #{background:06x}")
