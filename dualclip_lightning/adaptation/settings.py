"""Parameters of test-time adaptation, with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from dualclip_lightning.utilities.arguments import (
    check_choice,
    check_from_zero,
    check_names,
    check_positive,
    check_share,
    check_whole,
    is_number,
)

Blend = Literal["raw", "unit"]
BLENDS = get_args(Blend)


@dataclass(frozen=True)
class AdaptationSettings:
    """Settings of Dual-Image CLIP's test-time adaptation. None may be tuned on test labels.

    The paper (arXiv 2405.04782) gives AdamW, the steps, and DRAEM's pseudo anomalies. DRAEM gives the opacity. The only
    linear adapter that the same group has released (AnoVL, `model.py`) gives residual and blend. All other values are
    assumed, because the available text of the paper does not state them.

    Args:
        steps: T; 0 is exactly the method without adaptation. The default is the paper's best value of 1 to 6.
        learning_rate: learning rate of AdamW. Assumed.
        weight_decay: weight decay of AdamW. Assumed, PyTorch's default.
        residual: rho in [0, 1], the share of the adapter's output in the result.
        blend: form of the embedding that is blended with that output: "raw" for the unnormalised embedding, or "unit"
            for length 1. The input of the adapter is normalised in both cases. "unit" changes maps more if embeddings
            are longer than 1, and independently of their length.
        anomaly_weight: weight of the loss on pseudo-anomalous patches (eq. 10). Assumed.
        consistency_weight: weight of the loss that keeps the original near its joint map (eq. 11). Assumed.
        map_weight: weight of the adapted text map against the joint map in the final map (eq. 12). Assumed.
        mask_area: smallest and largest share of an image that a pseudo anomaly covers. Assumed.
        patch_share: a patch is anomalous if more than this share of it is masked. Assumed.
        opacity: smallest and largest opacity of the blended texture.
        textures: folder of texture images, such as DTD; None uses the CC0 photographs of this package.

    Raises:
        ValueError: a value is out of range.
    """

    steps: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    residual: float = 0.5
    blend: Blend = "raw"
    anomaly_weight: float = 1.0
    consistency_weight: float = 1.0
    map_weight: float = 0.5
    mask_area: tuple[float, float] = (0.02, 0.5)
    patch_share: float = 0.25
    opacity: tuple[float, float] = (0.2, 1.0)
    textures: str | Path | None = None

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 0, "The paper uses 2.")
        check_positive("learning_rate", self.learning_rate, "The default is 1e-3.")
        for name in ("weight_decay", "anomaly_weight", "consistency_weight"):
            check_from_zero(name, getattr(self, name))
        for name in ("residual", "map_weight"):
            check_share(name, getattr(self, name))
        check_choice("blend", self.blend, BLENDS)
        if not (is_number(self.patch_share) and 0 <= self.patch_share < 1):
            msg = f"Expected patch_share to be in [0, 1), but got {self.patch_share!r}."
            raise ValueError(msg)
        self._expect_range("mask_area", open_ended=True)
        self._expect_range("opacity", open_ended=False)

    @classmethod
    def from_choice(cls, tta: Any) -> AdaptationSettings | None:
        """Convert the argument `tta` to settings, or None for no adaptation.

        Args:
            tta: true for the defaults, false for no adaptation, or a mapping of settings.

        Raises:
            ValueError: `tta` is neither true, false nor a mapping, or has an unknown name or a value out of range.
        """
        if isinstance(tta, bool):
            return cls() if tta else None
        if not isinstance(tta, Mapping):
            msg = f"Expected tta to be true, false or a mapping of settings such as {{'steps': 4}}, but got {tta!r}."
            raise ValueError(msg)  # noqa: TRY004 - the user's value is wrong, not the program's type
        check_names("tta", tta, [field.name for field in fields(cls)])
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in tta.items()}
        return cls(**values)

    def _expect_range(self, name: str, *, open_ended: bool) -> None:
        value = getattr(self, name)
        if not _is_range(value, open_ended=open_ended):
            wanted = "two shares above 0 and below 1" if open_ended else "two shares above 0 and up to 1"
            msg = f"Expected {name} to be {wanted}, the smaller first, but got {value!r}."
            raise ValueError(msg)


def _is_range(value: object, *, open_ended: bool) -> bool:
    if not (isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))):  # noqa: PLR2004
        return False
    low, high = value
    return 0 < low <= high < 1 if open_ended else 0 < low <= high <= 1
