"""What a detector's arguments mean, and which are refused before weights are loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch

from dualclip_lightning.predict.listing import expand_user
from dualclip_lightning.predict.sources import Images

if TYPE_CHECKING:
    from dualclip_lightning.adaptation import TestTimeAdaptation
    from dualclip_lightning.backbone import Preprocessing

MODES = ("pairs", "stream", "none")


def check_numbers(
    num_references: int,
    bank_size: int,
    batch_size: int,
    temperature: float,
    spatial_window: float | None,
    max_megapixels: float,
    **weights: float,
) -> None:
    """Refuse numbers out of range.

    Raises:
        ValueError: names the argument.
    """
    counts = {"num_references": num_references, "bank_size": bank_size, "batch_size": batch_size}
    for name, count in counts.items():
        if count < 1:
            msg = f"Expected {name} to be at least 1, but got {count}."
            raise ValueError(msg)
    for name, number in {"temperature": temperature, "max_megapixels": max_megapixels}.items():
        if not 0 < number < math.inf:
            msg = f"Expected {name} to be above 0, but got {number}."
            raise ValueError(msg)
    for name, share in {**weights, "spatial_window": spatial_window or 0}.items():
        if not 0 <= share <= 1:
            msg = f"Expected {name} to be in [0, 1], but got {share}."
            raise ValueError(msg)


def reference_mode(references: str | Images, *, text_only: bool) -> tuple[str, Images | None]:
    """The kind of references ("pairs", "stream", "none" or "folder"), and where those of a folder are.

    Raises:
        FileNotFoundError: neither a kind nor a path.
    """
    if text_only:
        return "none", None
    if isinstance(references, str) and references in MODES:
        return references, None
    if isinstance(references, str) and not (set("*?[") & set(references) or expand_user(references).exists()):
        msg = f"There is no '{references}'. Expected references to be one of {', '.join(MODES)}, or images."
        raise FileNotFoundError(msg)
    return "folder", references


def make_adaptation(
    tta: bool | Mapping[str, Any], preprocessing: Preprocessing, seed: int
) -> TestTimeAdaptation | None:
    """Test-time adaptation as the user wants it, or None.

    Raises:
        ValueError: an unknown setting, or a value out of range.
    """
    if tta is False:
        return None
    from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation  # noqa: PLC0415 - takes seconds

    values: dict[str, Any] = {} if tta is True else {k: tuple(v) if isinstance(v, list) else v for k, v in tta.items()}
    known = [field.name for field in fields(AdaptationSettings)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        msg = f"Unknown setting(s) of tta: {', '.join(unknown)}. Expected some of {', '.join(known)}."
        raise ValueError(msg)
    return TestTimeAdaptation(AdaptationSettings(**values), preprocessing.mean, preprocessing.std, seed)


def choose_device(name: str) -> torch.device:
    """The device by that name; "auto" is a GPU if PyTorch can use one.

    Raises:
        ValueError: a device that PyTorch does not know or cannot use here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("no such device" if name == "meta" else name)  # which computes nothing
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        msg = f"The device '{name}' cannot be used here ({str(error).splitlines()[0]}). Set device='cpu' or 'auto'."
        raise ValueError(msg) from error
    return device
