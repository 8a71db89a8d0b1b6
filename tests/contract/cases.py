"""Registered methods, and arguments that change what one computes so much that it is a separate case."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from dualclip_lightning.registry import MODELS
from dualclip_lightning.testing.subject import CATEGORY, images
from tests.towers import stem_folder

CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in sorted(MODELS)}
CASES["DualImageCLIP with tta"] = ("DualImageCLIP", {"tta": True})
CASES["DualImageCLIP with layers"] = (
    "DualImageCLIP",
    {"num_references": 2, "reference_layers": [0.5, 1.0], "reference_path": "ordinary", "neighbourhood": [1, 3],
     "reference_fusion": "lowest", "class_neighbours": [1, 2]},
)  # fmt: skip
CASES["DualImageCLIP with a subspace"] = (
    "DualImageCLIP",
    {"reference_layers": [0.5, 1.0], "neighbourhood": [3], "neighbourhood_weighting": "similarity",
     "reference_fusion": "subspace", "explained_variance": 0.8, "reference_rotations": True},
)  # fmt: skip
CASES["DualImageCLIP with another tower"] = (
    "DualImageCLIP",
    {"reference_backbone": "timm:test_vit", "reference_pretrained": "random", "reference_path": "ordinary",
     "reference_layers": [0.5, 1.0]},
)  # fmt: skip
CASES["DualImageCLIP with a stem"] = (
    "DualImageCLIP",
    {"pretrained": str(stem_folder()), "num_references": 3, "reference_path": "stem", "reference_fusion": "lowest"},
)
CASES["DualImageCLIP with a convolutional network"] = (
    "DualImageCLIP",
    {"reference_backbone": "timm:test_resnet", "reference_pretrained": "random", "reference_path": "ordinary",
     "reference_layers": [0.5, 0.75], "num_references": 2},
)  # fmt: skip
CASES["PatchMemory with a convolutional network"] = (
    "PatchMemory",
    {"backbone": "timm:test_resnet", "pretrained": "random"},
)
CASES["MuSc with pairs"] = ("MuSc", {"num_references": 1})
CASES["ClipAD sdp+"] = ("ClipAD", {"variant": "sdp+"})
CASES["ClipAD as released"] = ("ClipAD", {"normalize_scores": True, "released_tokens": True})
CASES["WinCLIP+"] = ("WindowCLIP", {"k_shot": 2})
CASES["SubspaceAD with normal images"] = ("SubspaceAD", {"k_shot": 2, "rotations": 2})
CASES["PatchMemory with normal images"] = ("PatchMemory", {"k_shot": 2, "rotations": 2})
CASES["AnoCLIP with a carried optimizer"] = ("AnoCLIP", {"carry_optimizer": True})


def class_of(name: str) -> type:
    """Return the class of a registered method."""
    return getattr(import_module(MODELS[name]), name)


def maker(name: str, settings: dict[str, Any]) -> Callable[..., Any]:
    """Return the class, or a function that adds what the settings need: normal images, or a record of training."""
    method_class = class_of(name)

    def make(**arguments: Any) -> Any:
        if settings.get("k_shot"):
            arguments = {"reference_dir": images("two sizes") / CATEGORY / "train" / "good"} | arguments
        method = method_class(**arguments)
        if settings.get("variant") == "sdp+":  # as loading a checkpoint does
            method.trained_on = ({"dataset": "another", "categories": ["another"], "images": 1},)
        return method

    return make if settings.keys() & {"k_shot", "variant"} else method_class
