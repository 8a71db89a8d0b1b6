"""Names of backbones and weights: their meaning, and their checks before anything is downloaded."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from pathlib import Path

import open_clip

from dualclip_lightning.backbone.encoders.unsupported import check_vision
from dualclip_lightning.utilities.arguments import check_text
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.known import Known

DEMO = "demo"
RANDOM = "random"
DEMO_FOLDER = Path(__file__).parents[2] / "demo" / "model"
"""Folder of the demo model; read as `choosing.DEMO_FOLDER`, so that it can be replaced in one place."""
HUB, LOCAL = "hf-hub:", "local-dir:"
DEFAULT_BACKBONE = "ViT-B-16-plus-240"
DEFAULT_WEIGHTS = "laion400m_e32"
QUICK = "-quickgelu"

logger = logging.getLogger(__name__)


def choose(backbone: str, pretrained: str) -> tuple[str, str | None]:
    """Return open_clip's model name and `pretrained`; the latter is None if the former brings its weights.

    For weights that were trained with QuickGELU, the architecture with QuickGELU is chosen: `openai` for ViT-B-16
    means ViT-B-16-quickgelu.

    Raises:
        ValueError: the architecture or tag is unknown, or the file is known to be for another activation.
        WeightsError: the path does not exist.
    """
    check_text("backbone", backbone, DEFAULT_BACKBONE)
    check_text("pretrained", pretrained, DEMO)
    if not backbone.startswith((HUB, LOCAL)):
        _check_known(backbone)
    carrier = _carrier(backbone, pretrained)
    if carrier is not None:
        if backbone not in {DEFAULT_BACKBONE, carrier}:
            logger.warning("'%s' is not used: the weights '%s' bring their architecture.", backbone, pretrained)
        return carrier, None
    if backbone.startswith((HUB, LOCAL)):
        return backbone, None
    check_vision(backbone, open_clip.get_model_config(backbone) or {})
    if pretrained == RANDOM:
        return backbone, RANDOM
    if open_clip.get_pretrained_cfg(backbone, pretrained):
        return _with_activation(backbone, pretrained), pretrained
    path = Path(pretrained).expanduser()
    if not path.is_file():
        raise _unknown_weights(backbone, pretrained)
    return backbone, str(path)


def _carrier(backbone: str, pretrained: str) -> str | None:
    """Return the folder or repository named by `pretrained`, which brings its architecture; None for anything else."""
    if pretrained == DEMO:
        return f"{LOCAL}{DEMO_FOLDER}"
    if pretrained.startswith((HUB, LOCAL)):
        return pretrained
    named = pretrained == RANDOM or open_clip.get_pretrained_cfg(backbone, pretrained)
    path = Path(pretrained).expanduser()
    return f"{LOCAL}{path}" if path.is_dir() and not named else None


def _check_known(backbone: str) -> None:
    known = {name.lower(): name for name in open_clip.list_models()}
    if backbone not in known.values():
        near = [known[name] for name in get_close_matches(backbone.lower(), known, n=3, cutoff=0.0)]
        msg = f"Unknown backbone '{backbone}'. Did you mean {' or '.join(near)}? open_clip.list_models() names all."
        raise ValueError(msg)


def _with_activation(backbone: str, pretrained: str) -> str:
    """Return the variant of an architecture with the activation that a tag's weights were trained with."""
    wants = open_clip.get_pretrained_cfg(backbone, pretrained).get("quick_gelu", False)
    if wants == has_quick_gelu(backbone):
        return backbone
    other = backbone.removesuffix(QUICK) if backbone.endswith(QUICK) else f"{backbone}{QUICK}"
    if other in open_clip.list_models() and has_quick_gelu(other) == wants:
        return other
    repository = open_clip.get_pretrained_cfg(backbone, pretrained).get("hf_hub", "").rpartition("/")[0]
    msg = (
        f"open_clip's table says that the weights '{pretrained}' were trained with {activation(quick=wants)}, but its "
        f"'{backbone}' has {activation(quick=not wants)}. Set `pretrained` (--pretrained) to "
        f"'{HUB}{repository}', which says itself what it is."
    )
    raise ValueError(msg)


def check_file(backbone: str, path: Path, known: Known | None) -> None:
    """Check that a raw file of weights fits the activation of an architecture, as far as that is known.

    Weights do not determine their activation.

    Raises:
        ValueError: by its content or name, the file was trained with the other activation.
    """
    quick = has_quick_gelu(backbone)
    wants = _stated_activation(path, known)
    if wants is None:
        twin = backbone.removesuffix(QUICK) if quick else f"{backbone}{QUICK}"
        if twin in open_clip.list_models():
            logger.warning(
                "'%s' does not say with which activation it was trained; backbone '%s' means %s. If it was the other, "
                "set backbone (--backbone) to '%s'.", path, backbone, activation(quick=quick), twin,
            )  # fmt: skip
    elif wants != quick:
        other = f"{backbone}{QUICK}" if wants else backbone.removesuffix(QUICK)
        why = "is" if known and known.certain else "is called like"
        what = f"the weights '{known.tag}' of {known.backbone}" if known else "weights of that activation"
        msg = (
            f"'{path}' {why} {what}, trained with {activation(quick=wants)}, but backbone '{backbone}' has "
            f"{activation(quick=quick)}. Set backbone (--backbone) to '{other}'"
            f"{'' if known and known.certain else ', or give the file another name if it is something else'}."
        )
        raise ValueError(msg)


def _stated_activation(path: Path, known: Known | None) -> bool | None:
    """Return whether a file's weights are for QuickGELU, by its content or name; None if that is unknown."""
    if known is not None:
        return bool(open_clip.get_pretrained_cfg(known.backbone, known.tag).get("quick_gelu", False))
    return True if "quickgelu" in path.name.lower().replace("_", "").replace("-", "") else None


def has_quick_gelu(backbone: str) -> bool:
    """Return whether open_clip builds an architecture with QuickGELU."""
    return bool((open_clip.get_model_config(backbone) or {}).get("quick_gelu", False))


def activation(*, quick: bool) -> str:
    """Return the name of an activation for messages."""
    return "QuickGELU" if quick else "GELU"


def _unknown_weights(backbone: str, pretrained: str) -> Exception:
    tags = open_clip.list_pretrained_tags_by_model(backbone)
    if "/" in pretrained or pretrained.endswith((".pt", ".pth", ".bin", ".safetensors")):
        msg = f"There is no weights file or folder '{pretrained}'. Check the path; weights tags are {', '.join(tags)}."
        return WeightsError(msg)
    msg = (
        f"Unknown weights '{pretrained}' for backbone '{backbone}'. Its tags are: {', '.join(tags) or 'none'}. "
        "A weights file, a folder, 'hf-hub:owner/name' or 'demo' will do as well."
    )
    return ValueError(msg)
