"""How results are judged."""

from dualclip_lightning.metrics.evaluator import default_evaluator

__all__ = ["default_evaluator"]
