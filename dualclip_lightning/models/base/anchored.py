"""Base class of the torch modules of methods that use text."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AnchoredModel(nn.Module):
    """Torch module of a method that describes the class of its images by text anchors [2, D] (normal, anomalous)."""

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.empty(0), persistent=False)

    def require_anchors(self) -> Tensor:
        """Return the text anchors.

        Raises:
            RuntimeError: the anchors are not set.
        """
        if not self.anchors.numel():
            msg = "The text anchors are not set. Run through anomalib's Engine, or call set_class_name(...) first."
            raise RuntimeError(msg)
        return self.anchors
