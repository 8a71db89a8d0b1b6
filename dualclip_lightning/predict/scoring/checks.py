"""What a detector's arguments mean, and which are refused before weights are loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch

from dualclip_lightning.images.finding.lists import expand_user
from dualclip_lightning.images.sources import Images, can_be_images
from dualclip_lightning.predict.limits import METHOD
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
    num_references: int | None, bank_size: int, batch_size: int, spatial_window: float | None, max_megapixels: float
) -> None:
    """Refuse numbers out of range.

    Raises:
        ValueError: names the argument.
    """
    for name, count in {"bank_size": bank_size, "batch_size": batch_size}.items():
        check_whole(name, count, 1)
    if num_references is not None:
        check_whole("num_references", num_references, 1)
    check_positive("max_megapixels", max_megapixels)
    if spatial_window is not None:
        check_share("spatial_window", spatial_window)


def check_checkpoint(checkpoint: Any) -> None:
    """Refuse what is neither None nor a path.

    Raises:
        ValueError: says what was expected.
    """
    if not isinstance(checkpoint, str | PathLike | None):
        msg = f"Expected checkpoint to be the path of a file, but got {checkpoint!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments


def check_references(compare_with: Any, reference_dir: Images | None) -> None:
    """Refuse another word for whom images are compared with, or two answers to that.

    Raises:
        ValueError: says what was expected.
        FileNotFoundError: a folder that is not there.
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
    """Refuse references for a method that takes none, and none for one that only compares.

    Raises:
        ValueError: says what to leave out or to choose.
    """
    if method == METHOD:  # which has a score from text alone and one from references
        return
    if not compares and (reference_dir is not None or compare_with == "stream"):
        word = "reference_dir" if reference_dir is not None else "compare_with='stream'"
        msg = f"{method} scores each image by itself. Leave {word} out, or use {METHOD}."
        raise ValueError(msg)
    if compares and compare_with == "none":
        msg = f"{method} scores an image only by others. Set compare_with to 'pairs' or 'stream', or reference_dir."
        raise ValueError(msg)


def from_old_name(references: str | Images) -> tuple[Any, Images | None]:
    """`compare_with` and `reference_dir` as one argument said them before; warns that it will go.

    Raises:
        FileNotFoundError: neither a kind nor a path.
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
    """Return whether a path is there; a pattern may find nothing, which is told when it is read."""
    return bool(set("*?[") & set(target)) or expand_user(target).exists()


def reference_mode(compare_with: str, reference_dir: Images | None, *, text_only: bool) -> tuple[str, Images | None]:
    """The kind of references ("pairs", "stream", "none" or "folder"), and where those of a folder are."""
    if text_only:
        return "none", None
    return ("folder", reference_dir) if reference_dir is not None else (compare_with, None)


def adaptation_settings(tta: bool | Mapping[str, Any]) -> AdaptationSettings | None:
    """Settings of test-time adaptation as the user wants it, or None.

    Raises:
        ValueError: as `AdaptationSettings.from_choice`.
    """
    if tta is False:
        return None
    from dualclip_lightning.adaptation import AdaptationSettings  # noqa: PLC0415 - takes seconds

    return AdaptationSettings.from_choice(tta)


def make_adaptation(
    settings: AdaptationSettings | None, preprocessing: Preprocessing, seed: int
) -> TestTimeAdaptation | None:
    """Test-time adaptation with these settings.

    Raises:
        ValueError: a texture folder that is missing or empty.
    """
    if settings is None:
        return None
    from dualclip_lightning.adaptation import TestTimeAdaptation  # noqa: PLC0415 - takes seconds

    return TestTimeAdaptation(settings, preprocessing.mean, preprocessing.std, seed)


def check_device(name: Any) -> None:
    """Refuse what cannot name a device; whether it can be used here is for `choose_device`.

    Raises:
        ValueError: neither a text nor a device of PyTorch's.
    """
    if not isinstance(name, torch.device):
        check_text("device", name, "cuda")


def choose_device(name: str | torch.device) -> torch.device:
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
