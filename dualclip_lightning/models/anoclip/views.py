"""The 22 views over which AnoCLIP's released code averages the image score."""

from __future__ import annotations

from itertools import product

import torch
from kornia.color import rgb_to_grayscale
from kornia.geometry.transform import rotate, translate
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision

ANGLES = (45.0, 33.75, 22.5, 11.25)
"""Rotation angles in degrees, applied in both directions."""
SHIFTS = (0.1, 0.05)
"""Shifts as shares of the height and width, applied in all four diagonal directions."""
QUARTERS = (90.0, 180.0, 270.0)


def augmented_views(images: Tensor) -> Tensor:
    """Return the image itself, rotated, shifted, mirrored, grey and turned by quarters: [22, B, 3, H, W].

    Rotations and shifts fill the border by reflection. As in the released code, images are converted to grey after
    normalisation.

    Args:
        images: [B, 3, H, W], normalised.
    """
    # Disable autocast, because half precision would displace pixels by up to one.
    with single_precision(images.device):
        return _augmented_views(images.float())


def _augmented_views(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    turns = [sign * angle for angle in ANGLES for sign in (1, -1)] + list(QUARTERS)
    steps = [(share * (width - 1) * a, share * (height - 1) * b) for share, a, b in product(SHIFTS, (1, -1), (1, -1))]
    views = [
        images,
        *(rotate(images, images.new_full((1,), angle), padding_mode="reflection") for angle in turns),
        *(
            translate(images, images.new_tensor([step]), padding_mode="reflection", align_corners=True)
            for step in steps
        ),
        images.flip(-1),
        rgb_to_grayscale(images).expand_as(images),
    ]
    return torch.stack(views)
