"""WinCLIP and WinCLIP+ (arXiv 2303.14814)."""

from dualclip_lightning.models.winclip.lightning_model import WinCLIP, WindowCLIP
from dualclip_lightning.models.winclip.torch_model import WinCLIPModel

__all__ = ["WinCLIP", "WinCLIPModel", "WindowCLIP"]
