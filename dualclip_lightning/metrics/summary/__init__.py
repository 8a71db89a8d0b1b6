"""A summary of bounded size of a stream of scores, which gives every metric with a proven error bound.

`cells` describes the summary and how scores are added to it, and `metric_bounds` proves the bounds of the metrics.
"""

from dualclip_lightning.metrics.summary.cells import Summary, merge, observe, pack, prune, unpack
from dualclip_lightning.metrics.summary.metric_bounds import bounds, curve

__all__ = ["Summary", "bounds", "curve", "merge", "observe", "pack", "prune", "unpack"]
