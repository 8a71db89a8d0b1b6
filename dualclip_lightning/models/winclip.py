"""WinCLIP and WinCLIP+ (arXiv 2303.14814)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components.base import AnomalibModule
from torch import Tensor

from dualclip_lightning.backbone import WindowEncoder, WindowFeatures
from dualclip_lightning.models.base import AnchoredModel, Kind, ZeroShotShell
from dualclip_lightning.models.references import Bank, folder_images
from dualclip_lightning.pairing import image_names
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.scoring import (
    DRAWINGS,
    MapDrawing,
    association_score,
    draw,
    harmonic_map,
    harmonic_mean,
    joint_score,
    text_score,
)
from dualclip_lightning.utilities.arguments import check_path, check_whole, check_whole_list
from dualclip_lightning.utilities.seeding import derive_seed

BANK_BATCH = 4
"""Number of reference images that are encoded at once."""


class WinCLIPModel(AnchoredModel):
    """Torch module of WinCLIP, and of WinCLIP+ after a call of `set_references`.

    Args:
        encoder: module that returns the embeddings of the image and of all its windows.
        temperature: temperature of the softmax over the two states; above 0.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self, encoder: WindowEncoder, temperature: float = 0.07, drawing: MapDrawing = DRAWINGS["winclip"]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.drawing = drawing
        self.references: list[Tensor] = []
        self.reference_names: list[str] = []

    def set_references(self, images: Tensor, names: Sequence[str] = ()) -> None:
        """Encode the patches and windows of normal images [K, 3, H, W]; zero images [0, ...] mean zero-shot.

        `names` are their paths, which prevent an image from being its own reference.
        """
        parts = [visual_features(self.encoder(part)) for part in images.split(BANK_BATCH)] if len(images) else []
        self.references = [torch.cat(scale).flatten(1, -2) for scale in zip(*parts, strict=True)]
        self.reference_names = [os.path.realpath(name) for name in names]

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W]; `names` are their paths, if known."""
        anchors, features = self.require_anchors(), self.encoder(images)
        scores = text_score(features.class_embedding, anchors, self.temperature)
        maps = self._text_map(features, anchors, scores)
        if self.references:
            own = self._own_references(names, len(images)).to(images.device)
            visual = self._visual_map(features, own)
            alone = own.all(dim=0)  # an image that is the only reference gets its text score
            scores = scores.where(alone, joint_score(scores, visual.flatten(1).amax(dim=1), 0.5))
            maps = maps.where(alone[:, None, None], joint_score(maps, visual, 0.5))
        drawn = draw(maps, (images.shape[-2], images.shape[-1]), self.drawing)
        return InferenceBatch(pred_score=scores, anomaly_map=drawn)

    def _text_map(self, features: WindowFeatures, anchors: Tensor, scores: Tensor) -> Tensor:
        """Return the harmonic mean over the whole image and the scales of windows [B, h, w]."""
        grid = features.patch_tokens.shape[1], features.patch_tokens.shape[2]
        windows = [text_score(embedding, anchors, self.temperature) for embedding in features.window_embeddings]
        return harmonic_mean([scores[:, None, None], *(harmonic_map(score, grid) for score in windows)])

    def _own_references(self, names: Sequence[str], batch: int) -> Tensor:
        """Mark the references that are the image itself [K, B]."""
        own = [os.path.realpath(name) for name in names]
        if not own or not self.reference_names:
            return torch.zeros(len(self.references[0]), batch, dtype=torch.bool)
        return torch.tensor([[name == mine for mine in own] for name in self.reference_names])

    def _visual_map(self, features: WindowFeatures, own: Tensor) -> Tensor:
        """Return the distance to the references except `own`, averaged over patches and scales of windows [B, h, w]."""
        grid = features.patch_tokens.shape[1], features.patch_tokens.shape[2]
        pairs = zip(visual_features(features), self.references, strict=True)
        return torch.stack([harmonic_map(_nearest(f, r.to(f), own), grid) for f, r in pairs]).mean(dim=0)


def _nearest(embeddings: Tensor, references: Tensor, own: Tensor) -> Tensor:
    """Return the distance of embeddings [B, h', w', D] to the nearest of references [K, P, D], except `own` [K, B].

    It is infinite if all references are excluded.
    """
    distances = torch.stack([association_score(embeddings, reference) for reference in references])
    return distances.masked_fill(own[..., None, None], torch.inf).amin(dim=0)


def visual_features(features: WindowFeatures) -> tuple[Tensor, ...]:
    """Return the features that WinCLIP+ compares: patches (windows of one), then windows, each [B, h', w', .]."""
    return features.patch_tokens, *features.window_embeddings


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
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

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


def normal_images(k_shot: int, seed: int, reference_dir: str | Path | None, datamodule: Any) -> list[str]:
    """Return the paths of `k_shot` normal images, drawn with the seed from a folder or from the training images.

    Raises:
        ValueError: there is neither a folder nor a datamodule with training images, or there are too few images.
    """
    if reference_dir is not None:
        names = folder_images(reference_dir)
    else:
        found = image_names(getattr(datamodule, "train_data", None))
        if found is None:
            msg = f"k_shot={k_shot} needs normal images. Set reference_dir to a folder of them."
            raise ValueError(msg)
        names = sorted(found)
    if len(names) < k_shot:
        source = reference_dir or "the training images of the data"
        msg = f"Expected {k_shot} normal images for k_shot, but {source} has {len(names)}. Lower k_shot."
        raise ValueError(msg)
    generator = torch.Generator().manual_seed(derive_seed(seed, "normal images"))
    drawn = torch.randperm(len(names), generator=generator)[:k_shot].tolist()
    return [names[i] for i in drawn]


def check_shots(k_shot: int, reference_dir: str | Path | None) -> None:
    """Check the number of normal images.

    Raises:
        ValueError: the number is not an integer, is below 0, or is 0 with a folder of normal images.
    """
    check_whole("k_shot", k_shot, 0 if reference_dir is None else 1)
