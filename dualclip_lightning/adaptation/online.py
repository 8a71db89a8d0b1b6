"""Test-time adaptation as used by a method, with settings, textures and one seed per image."""

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

    The result for an image depends only on the seed and the image, which is identified by its folder and file name, or
    by its pixels if it has no name. It does not depend on other images or on the position in a batch.

    Args:
        settings: all parameters of the adaptation.
        mean: mean of the images' normalisation.
        std: standard deviation of the images' normalisation.
        seed: any integer.

    Raises:
        ValueError: the texture folder is missing or empty.
    """

    __test__ = False  # pytest would collect the class because of its name

    def __init__(self, settings: AdaptationSettings, mean: Sequence[float], std: Sequence[float], seed: int) -> None:
        self.settings = settings
        self.mean, self.std, self.seed = mean, std, seed
        self.source = TextureSource(settings.textures)

    def corrupt(self, images: Tensor, names: Sequence[str] = ()) -> PseudoAnomalies:
        """Make a pseudo-anomalous copy of every image [B, 3, H, W], with the same normalisation."""
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
        """Compute the adapted text map [B, h, w] (eq. 7 to 11).

        Args:
            encode: function from images [B, 3, H, W] to patch embeddings [B, h, w, D].
            images: [B, 3, H, W], preprocessed.
            names: the path of each image, or an empty sequence.
            patches: [B, h, w, D], the output of `encode` for `images`.
            joint_map: A_J, [B, h, w].
            anchors: [2, D].
            temperature: temperature of the softmax over the two states.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        pseudo = self.corrupt(images, names)
        targets = patch_targets(pseudo.masks, (patches.shape[1], patches.shape[2]), self.settings.patch_share)
        inputs = AdaptationInputs(patches, encode(pseudo.images), targets, joint_map, anchors, temperature)
        return adapt_to_pseudo_anomalies(inputs, self.settings)[0]


def image_seeds(seed: int, use: str, images: Tensor, names: Sequence[str] = ()) -> list[int]:
    """Derive a seed for every image [B, ...] from its folder and file name, or from its pixels if it has no name."""
    identities: Iterable[str | bytes] = map(file_identity, names) if names else map(_pixel_identity, images)
    return [derive_seed(seed, use, identity) for identity in identities]


def _pixel_identity(image: Tensor) -> bytes:
    return image.detach().float().cpu().contiguous().numpy().tobytes()
