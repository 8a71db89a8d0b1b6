"""The prediction for one image."""

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
from dualclip_lightning.predict.output.pictures.heatmap import draw_heatmap
from dualclip_lightning.predict.output.regions.region import Region, find_regions, marked_pixels
from dualclip_lightning.predict.scoring.drawer import DEFAULT_DRAWER, Drawer
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Score, map and decision of one image; scores lie in [0, 1], and higher ones are more anomalous.

    Args:
        name: path or given name of the image.
        score: score of the image.
        patch_map: [h, w], the map on the lattice of patches, from which `map` is drawn.
        size: height and width of the image, upright, in pixels.
        references: names of the images it was compared with; empty if it only has a text score.
        geometry: geometry with which it was passed to the model.
        seconds: time spent on it, including reading; images that share a batch share its time.
        notes: notes on how the image was read and resized.
        threshold: threshold for the decision, if there is one.
        drawer: drawer of `map` from `patch_map`.
        undecided: reason why there is no threshold, if the user did not choose to have none.
        min_area: number of pixels below which a region is left out of `regions`, `mask` and `heatmap`, unless all are.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.predict import Prediction, Threshold
        >>> patch_map = np.full((3, 4), 0.75, np.float32)
        >>> prediction = Prediction("01.png", 0.75, patch_map, size=(48, 64), threshold=Threshold(0.5))
        >>> prediction
        Prediction('01.png', 0.7500, anomalous, 64x48)
        >>> prediction.map.shape, bool(prediction.mask.all())
        ((48, 64), True)
        >>> [(region.box, region.area) for region in prediction.regions]
        [((0, 0, 64, 48), 3072)]
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
    min_area: int = 0

    def __repr__(self) -> str:
        p_value = "" if self.p_value is None else f", p={self.p_value:.3f}"
        decision = f", {self.decision}" if self.decision else ""
        return f"Prediction({self.name!r}, {self.score:.4f}{decision}{p_value}, {size_text(self.size)})"

    @property
    def peak(self) -> float:
        """The largest value of the map when drawn with one pixel per patch."""
        return float(self.drawer.on_patches(self.patch_map).max())

    @property
    def decision(self) -> str | None:
        """The decision, "anomalous" or "normal"; None without a threshold that fits the image (see `reason`)."""
        return self._decision.word or None

    @property
    def p_value(self) -> float | None:
        """Estimated share of normal images that score at least as high (see `Threshold.p_value`)."""
        return self._decision.p_value

    @property
    def reason(self) -> str:
        """The reason why there is no decision, or a note on the marked pixels; often empty."""
        return self._decision.reason

    @property
    def _decision(self) -> Decision:
        return Decision(reason=self.undecided) if self.threshold is None else self.threshold.decide(self)

    @property
    def map(self) -> npt.NDArray[np.float32]:
        """The map [H, W] at the size of the original image, drawn at each access; it takes 4 bytes per pixel."""
        return self.drawer(self.patch_map, self.size)

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Mask [H, W] of anomalous pixels: none for a normal image, some for an anomalous one; None if undecided."""
        return None if self.decision is None else marked_pixels(self.map, self.level, self.min_area)

    @property
    def regions(self) -> list[Region] | None:
        """The connected regions of the mask, the highest peak first, found at each access.

        The list is empty for a normal image, and None without a decision.
        """
        if self.decision is None:
            return None
        return [] if self.level is None else find_regions(self.map, self.level, self.min_area)

    @property
    def level(self) -> float | None:
        """Value of the map above which pixels are marked; None if none are (`Threshold.level`)."""
        return None if self.threshold is None else self.threshold.level(self, self.drawer.on_patches(self.patch_map))

    def heatmap(self, image: InMemory | None = None, scale: Scale | None = (0.0, 1.0)) -> Image.Image:
        """Draw the image, and its map over the image in grey, with a bar and the marked contour (see `draw_heatmap`).

        Args:
            image: the image that was scored; None reads it again from its file.
            scale: scores drawn with no colour and with full colour; the `common_scale` of the maps of several images
                distinguishes them best, None takes this map's own range.

        Raises:
            ImageError: If the file can no longer be read, or the image did not come from a file and is not given.
        """
        if image is None and not Path(self.name).is_file():
            msg = f"There is no file '{self.name}' to draw. Pass the image."
            raise ImageError(msg)
        picture = read_picture(self.name, math.inf) if image is None else to_pixels(image, math.inf)
        return draw_heatmap(picture.pixels, self.patch_map, scale, self.level, self.drawer, self.min_area)
