"""What is said of one image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.images.painting import Scale
from dualclip_lightning.images.picture import ImageError, size_text
from dualclip_lightning.images.reading.arrays import InMemory, to_pixels
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.predict.output.heatmap import draw_heatmap
from dualclip_lightning.predict.scoring.drawer import DEFAULT_DRAWER, Drawer
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold, marked


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Score, map and decision of one image; higher is more anomalous, in [0, 1].

    Args:
        name: path, or what the image was called.
        score: of the image.
        patch_map: [h, w], the map on the lattice of patches, from which `map` is drawn.
        size: height and width of the image, upright, in pixels.
        references: names of the images it was compared with; none if its text score stands alone.
        geometry: how it was brought to the model.
        seconds: spent on it, reading included; images that share a batch share its time.
        notes: what was done to the image on the way in.
        threshold: by which to decide, if there is one.
        drawer: draws `map` from `patch_map`.
        undecided: why there is none, if that is not the user's wish.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.predict import Prediction, Threshold
        >>> patch_map = np.full((3, 4), 0.75, np.float32)
        >>> prediction = Prediction("01.png", 0.75, patch_map, size=(48, 64), threshold=Threshold(0.5))
        >>> prediction
        Prediction('01.png', 0.7500, anomalous, 64x48)
        >>> prediction.map.shape, bool(prediction.mask.all())
        ((48, 64), True)
    """

    name: str
    score: float
    patch_map: npt.NDArray[np.float32]
    size: tuple[int, int]
    references: tuple[str, ...] = ()
    geometry: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    threshold: Threshold | None = None
    drawer: Drawer = DEFAULT_DRAWER
    undecided: str = ""

    def __repr__(self) -> str:
        p_value = "" if self.p_value is None else f", p={self.p_value:.3f}"
        decision = f", {self.decision}" if self.decision else ""
        return f"Prediction({self.name!r}, {self.score:.4f}{decision}{p_value}, {size_text(self.size)})"

    @property
    def peak(self) -> float:
        """The largest value of the map, drawn with one pixel a patch."""
        return float(self.drawer.on_patches(self.patch_map).max())

    @property
    def decision(self) -> str | None:
        """Either "anomalous" or "normal"; None without a threshold that fits the image (see `reason`)."""
        return self._decision.word or None

    @property
    def p_value(self) -> float | None:
        """Share of normal images that score at least as high, as far as the threshold knows (`Threshold.p_value`)."""
        return self._decision.p_value

    @property
    def reason(self) -> str:
        """Why there is no decision, or what is particular about the marked pixels; often empty."""
        return self._decision.reason

    @property
    def _decision(self) -> Decision:
        return Decision(reason=self.undecided) if self.threshold is None else self.threshold.decide(self)

    @property
    def map(self) -> npt.NDArray[np.float32]:
        """The map at the size and place of the original image: [H, W]. Drawn when asked for; 4 bytes a pixel."""
        return self.drawer(self.patch_map, self.size)

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Anomalous pixels [H, W]: none of a normal image, some of an anomalous one; None without a decision."""
        return None if self.decision is None else marked(self.map, self._level)

    @property
    def _level(self) -> float | None:
        return None if self.threshold is None else self.threshold.level(self, self.drawer.on_patches(self.patch_map))

    def heatmap(self, image: InMemory | None = None, scale: Scale | None = (0.0, 1.0)) -> Image.Image:
        """The image, and in grey under its map, with the contour of its marked pixels and a bar (see `draw_heatmap`).

        Args:
            image: that was judged; None reads it again from its file.
            scale: scores with no colour and with the full one; `common_scale` of the maps of several images tells them
                apart best, None takes this map's own range.

        Raises:
            ImageError: a file that can no longer be read, or an image that was no file and is not given.
        """
        if image is None and not Path(self.name).is_file():
            msg = f"There is no file '{self.name}' to draw. Pass the image."
            raise ImageError(msg)
        picture = read_picture(self.name, math.inf) if image is None else to_pixels(image, math.inf)
        return draw_heatmap(picture.pixels, self.patch_map, scale, self._level, self.drawer)
