"""A method as a plain module."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AnchoredModel(nn.Module):
    """A method as a plain module, told what its images show by text anchors [2, D] (normal, anomalous)."""

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.empty(0), persistent=False)

    def require_anchors(self) -> Tensor:
        """The text anchors.

        Raises:
            RuntimeError: there are none yet.
        """
        if not self.anchors.numel():
            msg = "The text anchors are not set. Run through anomalib's Engine, or call set_class_name(...) first."
            raise RuntimeError(msg)
        return self.anchors
