"""Regions in the COCO format, which annotation tools import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualclip_lightning.predict.output.regions.region import Region

CATEGORY = {"id": 1, "name": "anomaly", "supercategory": "anomaly"}


class CocoDataset:
    """A COCO data set of images and their regions, with the single category "anomaly".

    The segmentation of a region is one polygon along the edges of its pixels. COCO's polygons have no holes, so holes
    belong to the polygon, but not to the area. `score` is the peak of the region, and `mean_score` its mean.

    Example:
        >>> from dualclip_lightning.predict.output.regions.coco import CocoDataset
        >>> dataset = CocoDataset()
        >>> dataset.add("01.png", size=(48, 64), regions=[])
        >>> dataset.content["images"]
        [{'id': 1, 'file_name': '01.png', 'height': 48, 'width': 64}]
    """

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, file_name: str, size: tuple[int, int], regions: Sequence[Region]) -> None:
        """Add an image of a height and a width, with its regions; a normal image has none."""
        number = len(self.images) + 1
        self.images.append({"id": number, "file_name": file_name, "height": size[0], "width": size[1]})
        for region in regions:
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORY["id"],
                    "bbox": list(region.box),
                    "area": region.area,
                    "segmentation": [region.polygon.ravel().tolist()],
                    "iscrowd": 0,
                    "score": round(region.peak, 6),
                    "mean_score": round(region.mean, 6),
                }
            )

    @property
    def content(self) -> dict[str, Any]:
        """The data set as plain data, to be written as JSON."""
        info = {"description": "Regions found by dualclip predict, not checked by a person"}
        return {
            "info": info, "licenses": [], "categories": [CATEGORY],
            "images": self.images, "annotations": self.annotations,
        }  # fmt: skip
