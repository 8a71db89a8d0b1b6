"""Steps of all methods on random images, for measuring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation
from dualclip_lightning.backbone import (
    DualPathVisionEncoder,
    PlainVisionEncoder,
    StagedDualPathEncoder,
    StemPathEncoder,
    WindowEncoder,
    intermediate_encoder,
)
from dualclip_lightning.backbone.encoders.timm_tower import TimmTower
from dualclip_lightning.backbone.preprocessing import PRESETS
from dualclip_lightning.models.anoclip import AnoCLIPModel, NoiseSettings
from dualclip_lightning.models.base import AnchoredModel
from dualclip_lightning.models.clip_ad import ClipADModel
from dualclip_lightning.models.clip_zero_shot import ClipZeroShotModel
from dualclip_lightning.models.dual_image_clip import DualImageCLIPModel
from dualclip_lightning.models.memory import PatchMemoryModel, SubspaceModel
from dualclip_lightning.models.memory.patch_memory import memory_encoder
from dualclip_lightning.models.memory.subspace_ad import subspace_encoder
from dualclip_lightning.models.musc import MuScModel
from dualclip_lightning.models.winclip import WinCLIPModel
from dualclip_lightning.prompts import prompt_ensemble
from dualclip_lightning.scoring import ReferenceScoring

Step = Callable[[Tensor], object]
BARE = "bare forward"
LAYERS = ReferenceScoring((0.25, 0.5, 0.75, 1.0), "ordinary", (1, 3), fusion="lowest")
"""The comparison of configs/model/dual_image_clip_layers.yaml."""
STEM = ReferenceScoring(path="stem", fusion="lowest")
"""The comparison of configs/model/dual_image_clip_stem.yaml."""


def dual_image_clip(visual: VisionTransformer, steps: int = 0) -> Step:
    """Return a step of Dual-Image CLIP, with adaptation if there are steps."""
    preset, settings = PRESETS["openai"], AdaptationSettings(steps=steps)
    adaptation = TestTimeAdaptation(settings, preset["mean"], preset["std"], seed=0) if steps else None
    return _anchored(DualImageCLIPModel(DualPathVisionEncoder(visual), adaptation=adaptation), visual)


def references(visual: VisionTransformer, count: int, comparison: ReferenceScoring = LAYERS) -> Step:
    """Return a step of Dual-Image CLIP with several references, which are other images of the batch."""
    encoder = (
        StemPathEncoder(visual)
        if comparison.path == "stem"
        else DualPathVisionEncoder(visual, None, comparison.layers, comparison.path)
    )
    return _anchored(DualImageCLIPModel(encoder, num_references=count, comparison=comparison), visual)


def winclip(visual: VisionTransformer, shots: int = 0) -> Step:
    """Return a step of WinCLIP, or of WinCLIP+ with some normal images."""
    model = WinCLIPModel(WindowEncoder(visual))
    height, width = visual.image_size
    model.set_references(torch.randn(shots, 3, height, width, device=visual.class_embedding.device))
    return _anchored(model, visual)


def anoclip(visual: VisionTransformer, full: bool) -> Step:
    """Return a step of AnoCLIP with or without its views and its adaptation."""
    model = AnoCLIPModel(DualPathVisionEncoder(visual), NoiseSettings(steps=5 if full else 0), views=full)
    prompts = prompt_ensemble("object")
    normal, anomalous = (F.normalize(torch.randn(len(texts), visual.output_dim), dim=-1) for texts in prompts)
    model.texts = normal, anomalous
    return _anchored(model, visual)


def clip_ad(visual: VisionTransformer) -> Step:
    """Return a step of CLIP-AD's SDP."""
    return _anchored(ClipADModel(StagedDualPathEncoder(visual, stages=None, keep_ordinary=False)), visual)


def musc(visual: nn.Module, references: int | None = None) -> Step:
    """Return a step of MuSc with the batch as its set, or over references."""
    return MuScModel(intermediate_encoder(visual), num_references=references)


def subspace(visual: nn.Module) -> Step:
    """Return a step of SubspaceAD with the batch as its set."""
    return SubspaceModel(subspace_encoder(visual))


def memory(visual: nn.Module) -> Step:
    """Return a step of PatchMemory with the batch as its set."""
    return PatchMemoryModel(memory_encoder(visual))


VARIANTS: Mapping[str, Callable[[Any], Step]] = {
    BARE: lambda visual: visual.model if isinstance(visual, TimmTower) else visual,
    "dual-path encoder": DualPathVisionEncoder,
    "Dual-Image CLIP": dual_image_clip,
    "Dual-Image CLIP, layers, K = 1": lambda visual: references(visual, 1),
    "Dual-Image CLIP, layers, K = 4": lambda visual: references(visual, 4),
    "Dual-Image CLIP, stem, K = 4": lambda visual: references(visual, 4, STEM),
    "Dual-Image CLIP with TTA, 2 steps": lambda visual: dual_image_clip(visual, 2),
    "ClipZeroShot": lambda visual: _anchored(ClipZeroShotModel(PlainVisionEncoder(visual)), visual),
    "WinCLIP": winclip,
    "WinCLIP+, 1 normal image": lambda visual: winclip(visual, 1),
    "AnoCLIP, no views, no TTA": lambda visual: anoclip(visual, full=False),
    "AnoCLIP, 22 views, TTA": lambda visual: anoclip(visual, full=True),
    "ClipAD (SDP)": clip_ad,
    "MuSc, the batch as its set": musc,
    "MuSc-2": lambda visual: musc(visual, 1),
    "SubspaceAD, the batch as its set": subspace,
    "PatchMemory, the batch as its set": memory,
}
"""Steps by name; the others are divided by the first."""
WITHOUT_TEXTS = (BARE, *tuple(VARIANTS)[-4:])
"""The steps that a tower without texts can take."""
WITH_STEM = ("Dual-Image CLIP, stem, K = 4",)
"""The steps that only a tower with a convolutional stem can take."""
DEFAULT = ("dual-path encoder", "Dual-Image CLIP", "Dual-Image CLIP with TTA, 2 steps")


def _anchored(model: AnchoredModel, visual: VisionTransformer) -> Step:
    """Move the model to the device of the visual tower and set some anchors."""
    model.anchors = F.normalize(torch.randn(2, visual.output_dim), dim=-1)
    return model.to(visual.class_embedding.device)
