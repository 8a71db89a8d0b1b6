"""Interpretation and validation of a detector's arguments, before weights are loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dualclip_lightning.images.finding.lists import expand_user
from dualclip_lightning.images.sources import Images, can_be_images
from dualclip_lightning.predict.limits import METHOD
from dualclip_lightning.predict.scoring.quantiles import for_later_images
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.utilities.arguments import (
    check_choice,
    check_positive,
    check_share,
    check_text,
    check_whole,
)

if TYPE_CHECKING:
    from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation
    from dualclip_lightning.backbone import Preprocessing

MODES = ("pairs", "stream", "none")


def check_numbers(
    num_references: int | None, bank_size: int, batch_size: int, spatial_window: float | None, max_megapixels: float,
    min_area: int = 0,
) -> None:  # fmt: skip
    """Check that the numbers are in range.

    Raises:
        ValueError: If one is not; the message names the argument.
    """
    for name, count in {"bank_size": bank_size, "batch_size": batch_size}.items():
        check_whole(name, count, 1)
    if num_references is not None:
        check_whole("num_references", num_references, 1)
    check_whole("min_area", min_area, 0, "It is a number of pixels.")
    check_positive("max_megapixels", max_megapixels)
    if spatial_window is not None:
        check_share("spatial_window", spatial_window)


def check_checkpoint(checkpoint: Any) -> None:
    """Check that the checkpoint is None or a path.

    Raises:
        ValueError: If it is neither; the message says what was expected.
    """
    if not isinstance(checkpoint, str | PathLike | None):
        msg = f"Expected checkpoint to be the path of a file, but got {checkpoint!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments


def check_references(compare_with: Any, reference_dir: Images | None) -> None:
    """Check that `compare_with` is a known mode, and that it does not contradict `reference_dir`.

    Raises:
        ValueError: If an argument is invalid or both are given; the message says what was expected.
        FileNotFoundError: If the folder does not exist.
    """
    check_choice("compare_with", compare_with, MODES)
    if reference_dir is not None and not can_be_images(reference_dir):
        msg = f"Expected reference_dir to be a folder or images of the product, but got {reference_dir!r}."
        raise ValueError(msg)
    if reference_dir is not None and compare_with != "pairs":
        msg = f"Expected either reference_dir or compare_with={compare_with!r}, but got both. Leave one out."
        raise ValueError(msg)
    if isinstance(reference_dir, str) and not _exists(reference_dir):
        msg = f"There is no '{reference_dir}'. Expected reference_dir to be a folder or images of the product."
        raise FileNotFoundError(msg)


def check_compared(method: str, compare_with: str, reference_dir: Images | None, *, compares: bool) -> None:
    """Check that references are given only to a method that takes them, and always to one that needs them.

    Raises:
        ValueError: If this is not so; the message says what to leave out or to choose.
    """
    if method == METHOD:  # it has a score from text only and one from references
        return
    if not compares and (reference_dir is not None or compare_with == "stream"):
        word = "reference_dir" if reference_dir is not None else "compare_with='stream'"
        msg = f"{method} scores each image by itself. Leave {word} out, or use {METHOD}."
        raise ValueError(msg)
    if compares and compare_with == "none":
        msg = f"{method} scores an image only by others. Set compare_with to 'pairs' or 'stream', or reference_dir."
        raise ValueError(msg)


def from_old_name(references: str | Images) -> tuple[Any, Images | None]:
    """Return `compare_with` and `reference_dir` from the former argument for both; warn that it is deprecated.

    Raises:
        FileNotFoundError: If the argument is neither a mode nor an existing path.
    """
    warnings.warn(
        "references is called compare_with (pairs, stream, none) or reference_dir (images) now; the old name will go.",
        FutureWarning, stacklevel=3,
    )  # fmt: skip
    if isinstance(references, str) and references in MODES:
        return references, None
    if isinstance(references, str) and not _exists(references):
        msg = f"There is no '{references}'. Expected references to be one of {', '.join(MODES)}, or images."
        raise FileNotFoundError(msg)
    return "pairs", references


def _exists(target: str) -> bool:
    """Return whether a path exists; a pattern always passes, and is reported when it is read if it matches nothing."""
    return bool(set("*?[") & set(target)) or expand_user(target).exists()


def reference_mode(compare_with: str, reference_dir: Images | None, *, text_only: bool) -> tuple[str, Images | None]:
    """Return the kind of references ("pairs", "stream", "none" or "folder"), and the location of those of a folder."""
    if text_only:
        return "none", None
    return ("folder", reference_dir) if reference_dir is not None else (compare_with, None)


def chosen_threshold(chosen: float | str | Path | Threshold | None) -> Threshold | None:
    """Return the threshold that the user chose; None for "auto" and for no decisions.

    Raises:
        ValueError: If it is none of these, out of range, or a file that does not contain one.
    """
    if chosen is None or chosen == "auto":
        return None
    if isinstance(chosen, Threshold):
        return for_later_images(chosen)
    if isinstance(chosen, str | Path):
        return for_later_images(Threshold.load(chosen))
    if isinstance(chosen, bool) or not isinstance(chosen, Real):
        msg = f"Expected threshold to be a number, a file or a Threshold, but got {chosen!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments
    return Threshold(float(chosen))


def adaptation_settings(tta: bool | Mapping[str, Any]) -> AdaptationSettings | None:
    """Return the settings of test-time adaptation that the user chose, or None.

    Raises:
        ValueError: Same as `AdaptationSettings.from_choice`.
    """
    if tta is False:
        return None
    from dualclip_lightning.adaptation import AdaptationSettings  # noqa: PLC0415 - takes seconds

    return AdaptationSettings.from_choice(tta)


def make_adaptation(
    settings: AdaptationSettings | None, preprocessing: Preprocessing, seed: int
) -> TestTimeAdaptation | None:
    """Create the test-time adaptation with these settings.

    Raises:
        ValueError: If the texture folder is missing or empty.
    """
    if settings is None:
        return None
    from dualclip_lightning.adaptation import TestTimeAdaptation  # noqa: PLC0415 - takes seconds

    return TestTimeAdaptation(settings, preprocessing.mean, preprocessing.std, seed)


def check_device(name: Any) -> None:
    """Check that the argument can name a device; `choose_device` checks that the device can be used here.

    Raises:
        ValueError: If it is neither a string nor a `torch.device`.
    """
    if not isinstance(name, torch.device):
        check_text("device", name, "cuda")


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device of that name; "auto" is a GPU if PyTorch can use one.

    Raises:
        ValueError: If PyTorch does not know the device or cannot use it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("no such device" if name == "meta" else name)  # "meta" computes nothing
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        msg = f"The device '{name}' cannot be used here ({str(error).splitlines()[0]}). Set device='cpu' or 'auto'."
        raise ValueError(msg) from error
    return device
