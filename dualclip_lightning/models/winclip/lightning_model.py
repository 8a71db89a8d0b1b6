"""WinCLIP and WinCLIP+ (arXiv 2303.14814)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from anomalib.models.components.base import AnomalibModule

from dualclip_lightning.backbone import WindowEncoder
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.references import Bank, check_shots, normal_images
from dualclip_lightning.models.winclip.torch_model import WinCLIPModel
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.utilities.arguments import check_path, check_whole_list


class WindowCLIP(ZeroShotShell, AnomalibModule):
    """WinCLIP: text scores of small windows of patches, combined over positions and scales by harmonic means.

    The class embedding gives the image score. For the map, the tower runs on every window of 2x2 and of 3x3 patches;
    the score of a patch is the harmonic mean over the windows that contain it, then over both scales and the whole
    image (section 4.2). With `k_shot` normal images it is WinCLIP+ (section 4.3): patches and windows are also compared
    with those of the normal images, the two maps are averaged, and the image score is averaged with the largest value
    of the visual map. A normal image is compared only with the other ones.

    anomalib has this method as `WinClip` and ignores the case of names, so this class has another name;
    `dualclip_lightning.WinCLIP` is the same class. The window embeddings of anomalib's `WinClip` are silently wrong
    with the version of open_clip that this package uses, as `tests/unit/models/test_winclip.py` shows. Where anomalib
    is correct, the numbers are equal.

    There is no released code. Given by the paper: backbone, prompts, scales, temperature, harmonic means. Given by the
    best known re-implementation (github.com/zqhang/Accurate-WinCLIP-pytorch), which
    `tests/unit/models/test_winclip.py` compares in scores and maps: squashing of images, `text_mean`, `drawing`. Its
    map of WinCLIP+ is the sum of the two maps, twice the mean used here. Assumed, as in anomalib: the patches of
    WinCLIP+ are those after the last block and `ln_post`. WinCLIP+ is few-shot, because the normal images must be known
    to be normal.

    Example:
        >>> import torch
        >>> from dualclip_lightning import WindowCLIP
        >>> method = WindowCLIP(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 96, 96))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 96, 96]))

    Args:
        temperature: temperature of the softmax over the two states.
        scales: sides of the windows in patches.
        k_shot: number of normal images of WinCLIP+; 0 is the zero-shot method. They are drawn with the seed from
            `reference_dir`, or from the training images of the datamodule.
        reference_dir: folder of normal images for `k_shot`.
        text_mean: how the text embeddings of a state are averaged to an anchor: "raw" without normalisation, as in the
            released code of AnoCLIP, or "unit" with embeddings of length 1.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.INDUCTIVE
    wording: ClassVar[str] = "winclip"

    def __init__(
        self,
        *,
        temperature: float = 0.07,
        scales: list[int] | tuple[int, ...] = (2, 3),
        k_shot: int = 0,
        reference_dir: str | Path | None = None,
        text_mean: TextMean = "raw",
        **common: Any,
    ) -> None:
        check_whole_list("scales", scales, (2, 3))
        check_path("reference_dir", reference_dir)
        check_shots(k_shot, reference_dir)
        check_text_side(temperature, text_mean)
        super().__init__(**common)
        self.kind = Kind.FEW_SHOT if k_shot else Kind.INDUCTIVE
        self.levers = (*self.levers, "lower k_shot") if k_shot else self.levers
        self.model = WinCLIPModel(WindowEncoder(self.backbone.visual, scales), temperature, self.drawing)
        if k_shot:
            self.references = Bank(self.model, partial(normal_images, k_shot, self.seed, reference_dir))


WinCLIP = WindowCLIP
"""Former name of the class, and its name in exported files."""
