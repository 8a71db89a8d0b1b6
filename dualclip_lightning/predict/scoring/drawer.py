"""Drawing of pixel maps from the maps of an image's patches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dualclip_lightning.predict.input.geometry import Size
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw


class Drawer(NamedTuple):
    """Drawer of patch maps at any size; at the size at which the model sees an image, it gives the method's map."""

    drawing: MapDrawing = DRAWINGS["anoclip"]
    patch: Size = (16, 16)
    """Height and width of a patch in pixels of the image as the model sees it."""

    def __call__(self, patch_map: npt.NDArray[np.float32], size: Size) -> npt.NDArray[np.float32]:
        """Draw the map [H, W] of an image from the map [h, w] of its patches."""
        seen = patch_map.shape[0] * self.patch[0], patch_map.shape[1] * self.patch[1]
        maps = torch.from_numpy(np.array(patch_map, dtype=np.float32))[None]
        return draw(maps, size, self.drawing, seen)[0].numpy()

    def on_patches(self, patch_map: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Draw the map with one pixel per patch: [h, w]."""
        return self(patch_map, (patch_map.shape[0], patch_map.shape[1]))


DEFAULT_DRAWER = Drawer()
