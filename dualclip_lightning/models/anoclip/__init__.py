"""AnoCLIP, also known as AnoVL (arXiv 2308.15939)."""

from dualclip_lightning.models.anoclip.lightning_model import AnoCLIP
from dualclip_lightning.models.anoclip.torch_model import AnoCLIPModel, NoiseSettings

__all__ = ["AnoCLIP", "AnoCLIPModel", "NoiseSettings"]
