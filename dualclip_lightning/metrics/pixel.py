"""Pixel metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualclip_lightning.metrics.base import BUFFER, EXACT_LIMIT, CurveMetrics, Mode
from dualclip_lightning.metrics.bootstrap import POINTS, Intervals, pixel_intervals, sketch
from dualclip_lightning.metrics.functional import FPR_LIMIT, pro_200
from dualclip_lightning.metrics.inputs import Names, read_maps
from dualclip_lightning.metrics.ranking import Ranking, Scores, rank
from dualclip_lightning.metrics.regions import Connectivity, region_areas


class PixelMetrics(CurveMetrics):
    """AUROC, AP, F1max and PRO of pixels in one pass: `auroc`, `ap`, `f1max`, `pro`.

    Exact mode stores all scores and sorts them once. Streaming mode needs the same memory for any number of images;
    `dualclip_lightning.metrics.summary` describes it and proves the bound `error_bound`. Scores may have any finite
    value.

    Args:
        mode: `auto` is exact up to `exact_limit` scores, and then continues in streaming mode.
        fpr_limit: False-positive rate up to which PRO integrates.
        connectivity: Number of neighbours of a pixel in a region: 8, or 4 without corners.
        pro_200: Add `pro_200`, the PRO of AnoCLIP's and CLIP-AD's tables; it needs every score, so `auto` stays
            exact. It has no interval, because its thresholds depend on the lowest and highest score of each resample.
        bootstrap: Number of resamplings of the images for confidence intervals of the four metrics; 0 for none.
        seed: Seed of the resampling.
        exact_limit: Number of scores up to which `auto` is exact.
        buffer: Number of scores that streaming mode sorts together.
        further_limits: Additional false-positive rates to which PRO integrates; each adds `pro@<limit>`.

    Example:
        >>> import torch
        >>> from dualclip_lightning.metrics import PixelMetrics
        >>> maps, masks = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)
        >>> masks[0, 2:4, 2:4] = True
        >>> maps[0, 2:4, 2:3] = 0.9  # half of the region is found, and nothing else
        >>> metric = PixelMetrics()
        >>> metric.update(maps, masks)
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'auroc': 0.75, 'ap': 0.516, 'f1max': 0.667, 'pro': 0.575}
    """

    def __init__(self, mode: Mode = "auto", fpr_limit: float = FPR_LIMIT, connectivity: Connectivity = 8,
                 pro_200: bool = False, bootstrap: int = 0, seed: int = 0, exact_limit: int = EXACT_LIMIT,
                 buffer: int = BUFFER, further_limits: Sequence[float] = (), **kwargs: Any) -> None:  # fmt: skip
        if pro_200 and mode == "streaming":
            raise ValueError('Expected `mode` to be "exact" or "auto" with `pro_200`, which needs every score.')
        if connectivity not in {4, 8}:
            raise ValueError(f"Expected `connectivity` to be 4 or 8, but got {connectivity}.")
        super().__init__(
            "exact" if pro_200 else mode, fpr_limit, bootstrap, seed, exact_limit, buffer, further_limits, **kwargs
        )
        self.connectivity, self.pro_200 = connectivity, pro_200

    def update(self, maps: Tensor, masks: Tensor, names: Names = None) -> None:
        """Add maps and masks [B, H, W] or [B, 1, H, W] of some images; `names` identify them in errors."""
        scores, anomalous = read_maps(maps, masks, names)
        step = max(1, self.buffer // 4 // max(1, scores[:1].size))  # Small pieces fill the buffer better.
        for start in range(0, len(scores), step):
            self._add_maps(scores[start : start + step], anomalous[start : start + step])

    def _add_maps(self, maps: Scores, masks: NDArray[np.bool_]) -> None:
        areas = [region_areas(mask, self.connectivity) if mask.any() else NOWHERE for mask in masks]
        self._add(maps.ravel(), maps[masks], np.concatenate(areas))
        if self.bootstrap:
            sketches = [sketch(rank([m.ravel()], m[k], a)) for m, k, a in zip(maps, masks, areas, strict=True)]
            self.kept.append(torch.from_numpy(np.concatenate(sketches).ravel()))

    def _names(self) -> list[str]:
        return super()._names() + ["pro_200"] * self.pro_200

    def _exact(self, ranking: Ranking) -> dict[str, float]:
        values = super()._exact(ranking)
        return values | {"pro_200": pro_200(ranking)} if self.pro_200 else values

    def _intervals(self, values: dict[str, float]) -> Intervals:
        sketches = np.concatenate(self._arrays("kept")).reshape(-1, POINTS, 4)
        return pixel_intervals(sketches, values, self.fpr_limit or FPR_LIMIT, self.bootstrap, self.seed,
                               self.further_limits)  # fmt: skip


NOWHERE = np.zeros(0, np.int32)
"""The areas of a mask without regions."""
