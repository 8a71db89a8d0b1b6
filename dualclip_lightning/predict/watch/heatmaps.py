"""Heatmaps of the images that a station scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.painting import Scale
from dualclip_lightning.predict.output.layout import HEATMAP_SUFFIXES, shortened
from dualclip_lightning.predict.output.pictures.drawing import DrawableImage, Drawing, draw_files
from dualclip_lightning.predict.output.prediction import Prediction

FOLDER = "heatmaps"


@dataclass(frozen=True)
class StationHeatmaps:
    """Heatmaps that a station draws, named by the numbers and names of the images.

    Args:
        folder: folder of the results.
        anomalous_only: whether only images with this decision are drawn.
        scale: scores drawn with no colour and with full colour; None for each map's own range.
        heatmap_format: "jpeg" or "png".
        max_megapixels: limit above which images are refused.
    """

    folder: Path
    anomalous_only: bool = False
    scale: Scale | None = (0.0, 1.0)
    heatmap_format: str = "jpeg"
    max_megapixels: float = MAX_MEGAPIXELS

    def draw(self, number: int, found: Prediction) -> str | None:
        """Draw the heatmap of a scored image if it is wanted, and return its path in the folder of the results.

        Raises:
            ImageError: If the image cannot be read any more.
            OSError: If the heatmap cannot be written.
        """
        if self.anomalous_only and found.decision != "anomalous":
            return None
        name = f"{_prefix(number)}{shortened(Path(found.name).stem)}{HEATMAP_SUFFIXES[self.heatmap_format]}"
        drawing = Drawing(
            scale=self.scale, drawer=found.drawer, min_area=found.min_area, heatmap_format=self.heatmap_format
        )
        image = DrawableImage(found.name, found.size, found.patch_map, found.level)
        draw_files(image, {"heatmaps": self.folder / FOLDER / name}, drawing, self.max_megapixels)
        return f"{FOLDER}/{name}".encode("utf-8", "backslashreplace").decode()

    def remove(self, number: int) -> None:
        """Remove what was drawn for a number that no image has, because the station was killed before it got it."""
        for path in (self.folder / FOLDER).glob(f"{_prefix(number)}*"):
            path.unlink(missing_ok=True)


def _prefix(number: int) -> str:
    return f"{number:06}-"
