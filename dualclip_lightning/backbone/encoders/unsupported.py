"""Checks of vision towers by their configuration, before anything is downloaded."""

from __future__ import annotations

from typing import Any

import torch

from dualclip_lightning.backbone.encoders.tower import REMEDY


def check_vision(backbone: str, config: dict[str, Any]) -> None:
    """Check by its configuration that the patch tokens of an architecture can be read.

    Raises:
        ValueError: the tower cannot be used; the message states the reason.
    """
    vision = config.get("vision_cfg")
    if not vision:  # an incomplete configuration, which open_clip reports
        return
    lacking = _lacking(vision)
    if lacking:
        msg = f"Backbone '{backbone}' cannot be used: {lacking}. {REMEDY}"
        raise ValueError(msg)


def _lacking(vision: dict[str, Any]) -> str | None:
    """Return the reason why a vision tower cannot be used, or None."""
    if "timm_model_name" in vision:
        return _timm_lacks(vision["timm_model_name"])
    if not isinstance(vision.get("layers"), int):
        return "its vision tower is a ResNet, which has neither patch tokens nor a class token"
    if vision.get("attentional_pool"):
        return "its vision tower pools its tokens by attention and gives no class token in the space of texts"
    if vision.get("pool_type", "tok") != "tok":
        return f"its vision tower pools with '{vision['pool_type']}' and does not use its class token"
    return None


def _timm_lacks(name: str) -> str:
    """Return the reason why a tower of timm cannot be used, from the tower itself, built on the meta device."""
    import timm  # noqa: PLC0415  # only needed for the message

    try:
        with torch.device("meta"):
            trunk: Any = timm.create_model(name, pretrained=False)
    except RuntimeError as error:
        return f"its vision tower is '{name}' of timm, which cannot be built ({error})"
    tower = f"its vision tower, timm's {type(trunk).__name__} ({name}),"
    if not hasattr(trunk, "blocks") or not hasattr(trunk, "patch_embed"):
        return f"{tower} is no plain vision transformer and has no patch tokens of one width"
    if getattr(trunk, "cls_token", None) is None:
        return f"{tower} has no class token, from which scores of images and windows are read"
    attention = type(trunk.blocks[0].attn).__name__
    return (
        f"{tower} has a class token, but its attention is timm's {attention} and not PyTorch's MultiheadAttention, "
        "with whose projections the V-V path is computed"
    )
