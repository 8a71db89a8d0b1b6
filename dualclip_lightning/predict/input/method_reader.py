"""Views for the methods of the registry, which score them, or encode them for a comparison, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from dualclip_lightning.backbone import Preprocessing
from dualclip_lightning.predict.input.geometry import Geometry, Size
from dualclip_lightning.predict.input.reader import LayerSet, Prepared, ViewBatch, ViewReader


class MethodReader(ViewReader):
    """Reader of pictures for a method that scores images by themselves or by the layers of given references.

    Args:
        model: the method as a plain module, on its device.
        preprocessing: preprocessing of the weights, at the model's size.
        patch: height and width of the model's patches.
        geometry: geometry by which images are divided into views.
        batch_size: number of views at a time.
        compares: True if it takes references, through `encoder` and `compare`; images then have one view.
        named: True if it takes names, from which it derives its random seeds.
    """

    def __init__(
        self, model: Any, preprocessing: Preprocessing, patch: Size, geometry: Geometry, batch_size: int, *,
        compares: bool, named: bool,
    ) -> None:  # fmt: skip
        super().__init__(preprocessing, patch, geometry, batch_size)
        self.model = model
        self.compares = compares
        self.named = named

    def compute(self, views: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Return scores [V] and maps [V, H, W] on the CPU, or the layers [V, h, w, C] that are to be compared."""
        views = views.to(next(self.model.parameters()).device)
        if self.compares:
            return tuple(self.model.encoder(views).layers)
        found = self.model(views, names) if self.named else self.model(views)
        return found.pred_score.float().cpu(), found.anomaly_map.float().cpu()

    def reference(self, image: Prepared, batches: Callable[[], Iterator[ViewBatch]]) -> LayerSet:
        """Return the layers of an image; none if images are scored by themselves."""
        layers = next(batches()).computed if self.compares else ()
        return LayerSet(image.name, layers)
