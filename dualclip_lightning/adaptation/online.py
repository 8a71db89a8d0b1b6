"""Test-time adaptation as a method uses it: its settings, its textures, and a seed for every image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from dualclip_lightning.adaptation.dual_image import AdaptationInputs, adapt_to_pseudo_anomalies
from dualclip_lightning.adaptation.masks import patch_targets
from dualclip_lightning.adaptation.pseudo import PseudoAnomalies, pseudo_anomalies
from dualclip_lightning.adaptation.settings import AdaptationSettings
from dualclip_lightning.adaptation.textures import TextureSource
from dualclip_lightning.utilities.seeding import derive_seed, file_identity


class TestTimeAdaptation:
    """Pseudo anomalies and adapters for batches of one method.

    What an image gets depends on the seed and on the image alone: its folder and file name, or its pixels if it has
    no name; never on its neighbours or its place in a batch.

    Args:
        settings: every number.
        mean: of the images' normalisation.
        std: of the images' normalisation.
        seed: any integer.

    Raises:
        ValueError: a texture folder that is missing or empty.
    """

    __test__ = False  # pytest would take the name for a test

    def __init__(self, settings: AdaptationSettings, mean: Sequence[float], std: Sequence[float], seed: int) -> None:
        self.settings = settings
        self.mean, self.std, self.seed = mean, std, seed
        self.source = TextureSource(settings.textures)

    def corrupt(self, images: Tensor, names: Sequence[str] = ()) -> PseudoAnomalies:
        """A pseudo-anomalous copy of every image [B, 3, H, W], normalised as it is."""
        seeds = image_seeds(self.seed, "adaptation", images, names)
        return pseudo_anomalies(images, seeds, self.source, self.mean, self.std, self.settings)

    def adapted_map(
        self,
        encode: Callable[[Tensor], Tensor],
        images: Tensor,
        names: Sequence[str],
        patches: Tensor,
        joint_map: Tensor,
        anchors: Tensor,
        temperature: float,
    ) -> Tensor:
        """The adapted text map [B, h, w] (eq. 7 to 11).

        Args:
            encode: patch embeddings [B, h, w, D] of images [B, 3, H, W].
            images: [B, 3, H, W], preprocessed.
            names: the path of each image, or nothing.
            patches: [B, h, w, D], what `encode` gives of `images`.
            joint_map: A_J, [B, h, w].
            anchors: [2, D].
            temperature: of the softmax over the two states.

        Raises:
            FloatingPointError: a loss that is not finite.
        """
        pseudo = self.corrupt(images, names)
        targets = patch_targets(pseudo.masks, (patches.shape[1], patches.shape[2]), self.settings.patch_share)
        inputs = AdaptationInputs(patches, encode(pseudo.images), targets, joint_map, anchors, temperature)
        return adapt_to_pseudo_anomalies(inputs, self.settings)[0]


def image_seeds(seed: int, use: str, images: Tensor, names: Sequence[str] = ()) -> list[int]:
    """A seed for every image [B, ...] from its folder and file name, or from its pixels if it has no name."""
    identities: Iterable[str | bytes] = map(file_identity, names) if names else map(_pixel_identity, images)
    return [derive_seed(seed, use, identity) for identity in identities]


def _pixel_identity(image: Tensor) -> bytes:
    return image.detach().float().cpu().contiguous().numpy().tobytes()
