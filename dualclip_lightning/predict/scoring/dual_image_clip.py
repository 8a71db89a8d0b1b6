"""Dual-Image CLIP for a detector; images are encoded in batches, and only once for scoring and as references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from inspect import signature
from typing import Any

from dualclip_lightning.backbone import (
    check_reference_backbone,
    load_reference_backbone,
    prepare_backbone,
    reference_encoder,
)
from dualclip_lightning.backbone.checkpoints.choosing import DEFAULT_WEIGHTS
from dualclip_lightning.predict.input.encoding import ImageEncoder
from dualclip_lightning.predict.limits import METHOD, PRETRAINED
from dualclip_lightning.predict.names import check_arguments
from dualclip_lightning.predict.scoring.checks import adaptation_settings, choose_device, make_adaptation
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.predict.scoring.method import Common, Method
from dualclip_lightning.predict.scoring.scorer import DualImageScorer
from dualclip_lightning.prompts import TextMean, prompt_ensemble, text_anchors
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.scoring import MapDrawing, ReferenceScoring
from dualclip_lightning.scoring.dual_image import DualImageScoring
from dualclip_lightning.scoring.reference.comparison import PAPER, Fusion, ReferencePath
from dualclip_lightning.scoring.reference.neighbourhood import Weighting

ADAPTS = "adaptation takes gradients at test time; set tta to false"


def dual_image_clip(common: Common, arguments: Mapping[str, Any]) -> Method:
    """Build the method with its arguments.

    Raises:
        ValueError: Same as `build_method`.
        dualclip_lightning.backbone.WeightsError: If the weights cannot be obtained.
    """
    _, *known = signature(_dual_image_clip).parameters
    check_arguments(METHOD, arguments, known)
    if common.checkpoint is not None:
        msg = f"{METHOD} has no layers that are trained, and takes no checkpoint. Leave it out."
        raise ValueError(msg)
    return _dual_image_clip(common, **arguments)


def _dual_image_clip(
    common: Common,
    temperature: float = DualImageScoring.temperature,
    alpha: float = DualImageScoring.alpha,
    class_weight: float = DualImageScoring.class_weight,
    vv_blocks: list[int] | None = None,
    reference_layers: list[float] | None = None,
    reference_path: ReferencePath = PAPER.path,
    neighbourhood: Sequence[int] = PAPER.neighbourhood,
    neighbourhood_weighting: Weighting = PAPER.weighting,
    reference_fusion: Fusion = PAPER.fusion,
    lowest: float = PAPER.lowest,
    explained_variance: float = PAPER.explained_variance,
    reference_rotations: bool = PAPER.rotations,
    class_neighbours: list[int] | None = None,
    reference_backbone: str | None = None,
    reference_pretrained: str = DEFAULT_WEIGHTS,
    tta: bool | Mapping[str, Any] = False,
    text_mean: TextMean = "raw",
    drawing: str | dict[str, Any] = "anoclip",
) -> Method:
    check_text_side(temperature, text_mean, vv_blocks)
    DualImageScoring(temperature, alpha, class_weight)  # rejects numbers out of range before weights are loaded
    layers = PAPER.layers if reference_layers is None else reference_layers
    comparison = ReferenceScoring(
        layers, reference_path, neighbourhood, neighbourhood_weighting, reference_fusion, lowest, explained_variance,
        reference_rotations, class_neighbours,
    )  # fmt: skip
    _check_window(common.spatial_window, comparison)
    check_reference_backbone(reference_backbone, reference_pretrained, reference_path)
    settings = adaptation_settings(tta)
    prompts = prompt_ensemble(common.class_name, **common.prompts)
    chosen = MapDrawing.from_choice(drawing)
    clip, prepared = prepare_backbone(
        common.backbone, common.pretrained or PRETRAINED, common.preprocessing, common.seed, common.image_size
    )
    scoring = DualImageScoring(temperature, alpha, class_weight, make_adaptation(settings, prepared, common.seed))
    anchors = text_anchors(clip, prompts, mean=text_mean)
    device = choose_device(common.device)
    other = load_reference_backbone(reference_backbone, reference_pretrained, common.seed)
    encoder = reference_encoder(clip.visual, vv_blocks, comparison.layers, comparison.path, prepared, other).to(device)
    return Method(
        METHOD, alpha < 1, clip, prepared, device,
        ImageEncoder(encoder, prepared, common.geometry, common.batch_size, comparison),
        DualImageScorer(encoder, anchors.to(device), scoring, common.spatial_window, comparison),
        Drawer(chosen, tuple(clip.visual.patch_size)),
        {
            "spatial_window": common.spatial_window, "temperature": temperature, "alpha": alpha,
            "class_weight": class_weight, "vv_blocks": vv_blocks, "seed": common.seed,
            "tta": None if settings is None else asdict(settings),
            "drawing": drawing if isinstance(drawing, str) else asdict(chosen),
            "comparison": comparison.changed() or None,  # None as in thresholds from before this setting
            "reference_backbone": None if other is None else other.identity(),
            "prompts": common.prompts | {"text_mean": text_mean},
        },
        None if settings is None else ADAPTS,
    )  # fmt: skip


def _check_window(spatial_window: float | None, comparison: ReferenceScoring) -> None:
    """Check that patches of references have places, if they are compared by place.

    Raises:
        ValueError: If they have none; the message says what to leave out.
    """
    if spatial_window is not None and (comparison.rotations or comparison.fusion == "subspace"):
        what = "reference_rotations" if comparison.rotations else "reference_fusion='subspace'"
        msg = f"spatial_window compares patches at one place, which {what} does not. Leave one of them out."
        raise ValueError(msg)
