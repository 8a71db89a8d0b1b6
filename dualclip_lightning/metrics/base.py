"""Common base of image and pixel metrics: states of scores, their summary, and the results."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from dualclip_lightning.metrics.bootstrap import Intervals
from dualclip_lightning.metrics.functional import FPR_LIMIT, Curve, exact_curve, metrics
from dualclip_lightning.metrics.plots import plot_curves
from dualclip_lightning.metrics.ranking import Ranking, Scores, rank
from dualclip_lightning.metrics.summary import Summary, bounds, curve, merge, observe, pack, unpack

logger = logging.getLogger(__name__)

Mode = Literal["auto", "exact", "streaming"]

EXACT_LIMIT = 2**25
"""Number of scores up to which `auto` keeps all of them: some 400 MB, and a second for computing."""
BUFFER = 2**20
"""Number of scores that `streaming` sorts together: 4 MB."""
TOLERANCE = 2e-4
"""Error bound above which a warning is given."""
DTYPES = {"scores": torch.float32, "anomalous": torch.float32, "areas": torch.int32,
          "summary": torch.float64, "kept": torch.float64}  # fmt: skip
"""The states: scores, those of anomalous entries and the areas of their regions; the summary of scores in streaming
mode; and the data of each image for the bootstrap. All are lists of flat tensors that are concatenated across
processes, so processes may have different numbers of images, or none."""


class CurveMetrics(Metric):
    """Metrics that depend on one ranking of scores. Subclasses call `_add`.

    After `compute`, `mode_taken` is "exact" or "streaming", `error_bound` is the largest possible deviation of each
    figure from the exact one, and `unavailable` gives the reason if there are no figures.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    scores: list[Tensor]
    anomalous: list[Tensor]
    areas: list[Tensor]
    summary: list[Tensor]
    kept: list[Tensor]

    def __init__(self, mode: Mode = "auto", fpr_limit: float | None = FPR_LIMIT, bootstrap: int = 0, seed: int = 0,
                 exact_limit: int = EXACT_LIMIT, buffer: int = BUFFER, further_limits: Sequence[float] = (),
                 **kwargs: Any) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if mode not in {"auto", "exact", "streaming"}:
            raise ValueError(f'Expected `mode` to be "auto", "exact" or "streaming", but got {mode!r}.')
        for limit in (*further_limits, FPR_LIMIT if fpr_limit is None else fpr_limit):
            if not 0 < limit <= 1:
                raise ValueError(f"Expected `fpr_limit` above 0 and at most 1, but got {limit}.")
        self.mode, self.fpr_limit, self.bootstrap, self.seed = mode, fpr_limit, bootstrap, seed
        self.exact_limit, self.buffer, self.further_limits = exact_limit, buffer, tuple(further_limits)
        for state in DTYPES:
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self.mode_taken: Literal["exact", "streaming"] = "exact"
        self.error_bound: dict[str, float] = {}
        self.unavailable: str | None = None

    def compute(self) -> dict[str, Tensor]:
        """Return each metric by name, NaN if it is undefined; with `bootstrap` also `<name>_interval` [2], of 95 %."""
        found = self._summary_or_ranking()
        self.mode_taken = "exact" if isinstance(found, Ranking) else "streaming"
        self.unavailable = _missing(*_totals(found))
        if self.unavailable:
            logger.warning("%s are n/a: %s.", type(self).__name__, self.unavailable)
            self.error_bound = {}
            return {name: torch.tensor(torch.nan, dtype=torch.float64) for name in self._names()}
        values = self._exact(found) if isinstance(found, Ranking) else self._estimated(found)
        intervals = self._intervals(values) if self.bootstrap else {}
        results = values | {f"{name}_interval": interval for name, interval in intervals.items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in results.items()}

    def plot(self, curve: Literal["roc", "pr", "pro"] | None = None, ax: Any = None) -> Any:
        """Plot the ROC, precision-recall and PRO curves, or one of them; return the figure and its axes."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            points = self.curve()
        return plot_curves(points, self.fpr_limit, curve, ax)

    def curve(self) -> Curve:
        """Return the curve of the scores in this process, or the middle of its bounds in streaming mode."""
        found = self._summary_or_ranking()
        missing = _missing(*_totals(found))
        if missing:
            raise ValueError(f"There is no curve: {missing}.")
        return exact_curve(found) if isinstance(found, Ranking) else curve(found)

    def _names(self) -> list[str]:
        return list(metrics(self.fpr_limit, self.further_limits))

    def _exact(self, ranking: Ranking) -> dict[str, float]:
        points = exact_curve(ranking)
        values = {name: float(metric(points)) for name, metric in metrics(self.fpr_limit, self.further_limits).items()}
        self.error_bound = dict.fromkeys(values, 0.0)
        logger.info("%s: exact, %d scores.", type(self).__name__, ranking.size)
        return values

    def _estimated(self, summary: Summary) -> dict[str, float]:
        found = bounds(summary, self.fpr_limit, self.further_limits)
        self.error_bound = {name: max(value - low, high - value) for name, (value, low, high) in found.items()}
        worst = max(self.error_bound.values())
        level = logging.WARNING if worst > TOLERANCE else logging.INFO
        logger.log(level, "%s: streaming, within %.1e of the exact figures.", type(self).__name__, worst)
        return {name: value for name, (value, _, _) in found.items()}

    @abstractmethod
    def _intervals(self, values: dict[str, float]) -> Intervals:
        """Return the interval of each metric from the stored data of each image."""

    def _add_images(self, scores: Scores, labels: NDArray[np.bool_]) -> None:
        """Add scores and labels of images, each anomalous one as a region of its own."""
        self._add(scores, scores[labels], np.ones(labels.sum(), np.int32))

    def _add(self, scores: Scores, anomalous: Scores, areas: NDArray[np.int32]) -> None:
        """Add copies of scores [N], of those that are anomalous [P], and of their regions' areas [P]."""
        limit = self.exact_limit if self.mode == "auto" and not self.summary else self.buffer
        if self.mode != "exact" and self.scores and sum(map(len, self.scores)) + scores.size > limit:
            self._summarise()
        for state, values in ((self.scores, scores), (self.anomalous, anomalous), (self.areas, areas)):
            state.append(torch.from_numpy(np.array(values)))

    def _summarise(self) -> None:
        """Move the stored scores into the summary, one buffer at a time."""
        if self.mode == "auto" and not self.summary:
            logger.info("%s: streaming, for there are more than %d scores.", type(self).__name__, self.exact_limit)
        summary = reduce(observe, self._rankings(), self._merged() or Summary.empty())
        self.summary = [torch.from_numpy(pack(summary))]

    def _rankings(self) -> Iterator[Ranking]:
        """Yield the stored scores about one buffer at a time, releasing each after it is copied."""
        while self.scores:
            end = 1 + int(np.searchsorted(np.cumsum([len(scores) for scores in self.scores]), self.buffer))
            ranking = self._ranking(slice(end))
            for state in (self.scores, self.anomalous, self.areas):
                del state[:end]
            yield ranking

    def _summary_or_ranking(self) -> Summary | Ranking:
        summary = self._merged()
        if summary is None:
            return self._ranking(slice(None), threads=torch.get_num_threads())
        return observe(summary, self._ranking(slice(None)))

    def _merged(self) -> Summary | None:
        summaries = unpack(np.concatenate(self._arrays("summary")))
        return reduce(merge, summaries) if summaries else None

    def _ranking(self, part: slice, threads: int = 1) -> Ranking:
        anomalous, areas = (np.concatenate(self._arrays(state, part)) for state in ("anomalous", "areas"))
        return rank(self._arrays("scores", part), anomalous, areas, threads)

    def _arrays(self, state: str, part: slice = slice(None)) -> list[NDArray[Any]]:
        """Return part of a state as a list that is never empty, also if it is one tensor after synchronisation."""
        value = getattr(self, state)
        tensors = [value] if isinstance(value, Tensor) else value[part]
        return [tensor.cpu().numpy() for tensor in tensors] or [torch.empty(0, dtype=DTYPES[state]).numpy()]

    def _sync_dist(self, dist_sync_fn: Callable = gather_all_tensors, process_group: Any = None) -> None:
        """Agree on the precision of scores with the other processes, which may have no scores, before gathering."""
        double = any(scores.dtype == torch.float64 for scores in self.scores)
        group = process_group or self.process_group
        double = any(map(bool, dist_sync_fn(torch.tensor([double], device=self.device), group=group)))
        for state, dtype in DTYPES.items():
            wide = torch.float64 if double and state in {"scores", "anomalous"} else dtype
            strung = np.concatenate(self._arrays(state))
            setattr(self, state, [torch.from_numpy(strung).to(self.device, wide)])
        super()._sync_dist(dist_sync_fn, process_group)


def _totals(found: Summary | Ranking) -> tuple[int, int]:
    """Return the numbers of normal and of anomalous entries."""
    if isinstance(found, Ranking):
        return found.size - found.anomalous.size, found.anomalous.size
    return int(found.upper[-1, 0]), int(found.upper[-1, 1])


def _missing(normal: int, anomalous: int) -> str | None:
    """Return why no metric is defined, or None."""
    if normal and anomalous:
        return None
    found = "nothing was given" if not normal + anomalous else "all are normal" if normal else "all are anomalous"
    return f"they need normal and anomalous entries, and {found}"
