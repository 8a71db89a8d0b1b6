"""OpenAI's files of CLIP on disk: TorchScript archives, and the raw state dicts that were saved from them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from torch import Tensor, nn

from dualclip_lightning.backbone.checkpoints.choosing import QUICK
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.fetching import first_line

_MARKS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's models store with their weights."""
OPENAI_HEAD_WIDTH = 64
_VISION_KEYS = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"}
_TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers"}


class Archive(NamedTuple):
    """Weights that determine their architecture and activation."""

    state: dict[str, Tensor]
    quick_gelu: bool


def read_archive(path: Path) -> Archive | None:
    """Read a TorchScript archive, or a state dict that was saved from one of OpenAI's; return None for other files.

    OpenAI's models have QuickGELU. The activation of other archives is read from their code.

    Raises:
        WeightsError: the TorchScript archive cannot be read.
    """
    if _is_torchscript(path):
        try:
            module = torch.jit.load(str(path), map_location="cpu").eval()
        except RuntimeError as error:
            msg = (
                f"Cannot read the TorchScript archive '{path}' ({first_line(error)}). Check that the file is complete."
            )
            raise WeightsError(msg) from error
        return Archive(_without_marks(module.state_dict()), _uses_quick_gelu(module))
    state = _peek(path)
    return Archive(_without_marks(state), quick_gelu=True) if set(_MARKS) <= state.keys() else None


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _peek(path: Path) -> dict[str, Any]:
    """Return the state dict of a file in PyTorch's format, mapped into memory; {} for other files."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001  # open_clip reads the file next, and reports the error
        return {}
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    return content if isinstance(content, dict) else {}


def _without_marks(state: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in _MARKS}


def _uses_quick_gelu(module: torch.jit.ScriptModule) -> bool:
    """Return whether the code of an archive computes x * sigmoid(1.702 x) rather than GELU."""
    return "aten::gelu" not in str(module.inlined_graph)


def build(archive: Archive, backbone: str, path: Path) -> tuple[nn.Module, str]:
    """Build the model of an archive, in single precision; return it with the name of its architecture.

    The architecture is `backbone` if it has the shapes of the weights, else any architecture of open_clip that has
    them, else the one that OpenAI's own loader derives from the shapes: heads of 64 channels.

    Raises:
        WeightsError: the model is not a vision transformer, or its weights do not fit together.
    """
    try:
        shape = _shape_of(archive.state)
    except KeyError as error:
        msg = f"'{path}' is no CLIP with a vision transformer: it has no weights named {error}."
        raise WeightsError(msg) from error
    wanted = _without_heads(shape)
    name = next((name for name in (backbone, *open_clip.list_models()) if _shape_in(name) == wanted), None)
    config = (open_clip.get_model_config(name) if name else None) or shape
    with torch.random.fork_rng(devices=[]):  # open_clip initialises all weights before it loads them
        clip = open_clip.CLIP(**{**config, "quick_gelu": archive.quick_gelu})
    clip.load_state_dict({key: value.float() for key, value in archive.state.items()})
    return clip, _named(name, quick=archive.quick_gelu)


def _named(name: str | None, *, quick: bool) -> str:
    """Return the name of an architecture, with the suffix of its activation."""
    if name is None:
        return "TorchScript archive"
    return f"{name.removesuffix(QUICK)}{QUICK if quick else ''}"


def _shape_of(state: dict[str, Tensor]) -> dict[str, Any]:
    """Derive an architecture from the shapes of the weights, in the format of open_clip's configurations."""
    patch_weights, positions = state["visual.conv1.weight"], state["visual.positional_embedding"]
    patch, grid = patch_weights.shape[-1], round((len(positions) - 1) ** 0.5)
    text_width = state["ln_final.weight"].shape[0]
    return {
        "embed_dim": state["text_projection"].shape[1],
        "vision_cfg": {
            "image_size": patch * grid,
            "layers": _depth(state, "visual.transformer.resblocks."),
            "width": patch_weights.shape[0],
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": len(state["positional_embedding"]),
            "vocab_size": len(state["token_embedding.weight"]),
            "width": text_width,
            "heads": max(1, text_width // OPENAI_HEAD_WIDTH),
            "layers": _depth(state, "transformer.resblocks."),
        },
    }


def _depth(state: dict[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def _shape_in(name: str) -> dict[str, Any] | None:
    """Return the configuration of an architecture in the format of `_shape_of`; None if shapes cannot determine it."""
    config = open_clip.get_model_config(name) or {}
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    if not set(vision) <= _VISION_KEYS or not set(text) <= _TEXT_KEYS:
        return None
    shape = {"embed_dim": config.get("embed_dim"), "vision_cfg": vision, "text_cfg": text}
    return _without_heads(shape)


def _without_heads(shape: dict[str, Any]) -> dict[str, Any]:
    """Return a shape without the numbers of heads, which weights do not determine."""
    left_out = {"head_width", "mlp_ratio", "heads"}
    return {
        key: {name: number for name, number in value.items() if name not in left_out} if key.endswith("cfg") else value
        for key, value in shape.items()
    }
