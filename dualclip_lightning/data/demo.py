"""Former place of `Demo`, which recorded runs and printed configurations name."""

from __future__ import annotations

from dualclip_lightning.demo.data.datamodule import Demo

__all__ = ["Demo"]
