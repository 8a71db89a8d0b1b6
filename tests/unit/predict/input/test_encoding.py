from __future__ import annotations

import pytest
import torch

from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.images.picture import Picture
from dualclip_lightning.predict.input import encoding, reader
from dualclip_lightning.predict.input.encoding import ImageEncoder, embedded
from dualclip_lightning.predict.input.geometry import Geometry
from dualclip_lightning.predict.input.reader import EncodedImage
from dualclip_lightning.predict.input.views import blend
from dualclip_lightning.predict.scoring.scorer import DualImageScorer
from dualclip_lightning.scoring import ReferenceScoring, neighbourhood_mean
from dualclip_lightning.scoring.dual_image import DualImageScoring
from tests.hostile_images import picture
from tests.towers import PATCH, SIZE, tiny_backbone

SAME = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def clip():
    return tiny_backbone()


def encoder_of(
    clip, geometry: Geometry, batch_size: int = 4, comparison: ReferenceScoring | None = None
) -> ImageEncoder:
    comparison = comparison or ReferenceScoring()
    encoder = DualPathVisionEncoder(clip.visual, None, comparison.layers, comparison.path)
    return ImageEncoder(encoder, clip.preprocessing, geometry, batch_size, comparison)


def photo(height: int, width: int, seed: int = 0) -> Picture:
    resized = picture(seed=seed).resize((width, height))
    return Picture(torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(height, width, 3).numpy())


def encode(encoder: ImageEncoder, *pictures: Picture) -> list[EncodedImage]:
    return encoder.encode([encoder.prepare(f"{i}.png", p) for i, p in enumerate(pictures)])


def all_patches(image: EncodedImage) -> torch.Tensor:
    return torch.cat([embedded(batch).patch_embeddings for batch in image.batches()])


@pytest.mark.parametrize("mode", ["squash", "keep", "tiles"])
def test_images_have_the_same_encoding_together_and_separately(clip, mode):
    encoder = encoder_of(clip, Geometry(mode), batch_size=3)
    pictures = [photo(48, 96, 1), photo(96, 48, 2), photo(48, 96, 3), photo(30, 30, 4)]
    for together, alone in zip(encode(encoder, *pictures), (encode(encoder, p)[0] for p in pictures), strict=True):
        torch.testing.assert_close(all_patches(together), all_patches(alone), **SAME)
        assert together.plan == alone.plan


def test_an_image_of_many_views_is_encoded_again_when_it_is_needed(clip, monkeypatch):
    encoder, large = encoder_of(clip, Geometry("tiles")), photo(130, 170)
    kept = encode(encoder, large)[0]
    monkeypatch.setattr(reader, "MOST_KEPT_VIEWS", 3)
    prepared = encoder.prepare("0.png", large)
    assert prepared.views is None
    assert encoder.prepare("1.png", photo(48, 96)).picture is None
    again = encoder.encode([prepared])[0]
    assert [len(batch.images) for batch in again.batches()] == [4] * 5
    torch.testing.assert_close(all_patches(again), all_patches(kept), **SAME)
    torch.testing.assert_close(again.as_reference.descriptors[0], kept.as_reference.descriptors[0], **SAME)
    torch.testing.assert_close(again.as_reference.places, kept.as_reference.places)


@pytest.mark.parametrize("most_views", [2, 32])
def test_of_too_many_patches_a_subset_is_the_reference_with_its_places(clip, monkeypatch, most_views):
    encoder, large = encoder_of(clip, Geometry("tiles", overlap=0)), photo(96, 96)
    everything = encode(encoder, large)[0].as_reference
    monkeypatch.setattr(encoding, "MOST_REFERENCE_PATCHES", 20)
    monkeypatch.setattr(reader, "MOST_KEPT_VIEWS", most_views)
    some = encode(encoder, large)[0].as_reference
    (chosen,), (known,) = some.descriptors, everything.descriptors
    assert chosen.shape == (20, known.shape[1])
    distance = torch.cdist(chosen, known)
    torch.testing.assert_close(everything.places[distance.argmin(dim=1)], some.places)
    assert len(distance.argmin(dim=1).unique()) == 20
    assert torch.equal(encode(encoder, large)[0].as_reference.places, some.places)


@pytest.mark.parametrize("most_views", [1, 32])
def test_each_view_of_a_reference_has_its_rotations_and_every_layer(clip, monkeypatch, most_views):
    monkeypatch.setattr(reader, "MOST_KEPT_VIEWS", most_views)
    comparison = ReferenceScoring(layers=[0.5, 1.0], path="ordinary", neighbourhood=[1, 3], rotations=True)
    encoder = encoder_of(clip, Geometry("tiles", overlap=0), 2, comparison)
    image = encode(encoder, photo(96, 96))[0]
    views = torch.cat([batch.images for batch in image.batches()])
    layers = [encoder.encoder(views.rot90(turn, (2, 3))).layers for turn in range(4)]
    for place, found in enumerate(image.as_reference.descriptors):
        layer, side = divmod(place, 2)
        tokens = torch.cat([neighbourhood_mean(each[layer], (1, 3)[side]).flatten(0, 2) for each in layers])
        expected = tokens / tokens.norm(dim=1, keepdim=True)
        assert found.shape == expected.shape
        assert torch.cdist(expected.double(), found.double()).amin(dim=1).max() < 1e-5
    monkeypatch.setattr(encoding, "MOST_REFERENCE_PATCHES", 20)
    assert [len(each) for each in encode(encoder, photo(96, 96))[0].as_reference.descriptors] == [80] * 4


def test_tiles_are_scored_one_by_one_and_blended(clip):
    """Cut the tiles by hand and compare each patch with every patch of every tile of the reference."""
    temperature, alpha, weight = 0.1, 0.4, 0.7
    encoder = encoder_of(clip, Geometry("tiles", overlap=0.5))
    pictures = [photo(48, 96, 1), photo(64, 64, 2)]
    image, reference = encode(encoder, *pictures)
    anchors = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    scorer = DualImageScorer(encoder.encoder, anchors, DualImageScoring(temperature, alpha, weight))
    score, score_map = scorer.score(image, [reference.as_reference], "0.png")

    def tiles(shown: Picture, step: int):
        values = torch.from_numpy(shown.pixels).permute(2, 0, 1) / 255
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.preprocessing.mean, clip.preprocessing.std))
        values = (values - mean) / std
        rows, columns = (range(0, side - SIZE + 1, step) for side in values.shape[1:])
        return [encoder.encoder(values[None, :, r : r + SIZE, c : c + SIZE]) for r in rows for c in columns]

    def anomalous(embeddings: torch.Tensor) -> torch.Tensor:
        return torch.cosine_similarity(embeddings[..., None, :], anchors, dim=-1).div(temperature).softmax(-1)[..., 1]

    others = torch.cat([tile.patch_embeddings.flatten(0, 2) for tile in tiles(pictures[1], PATCH)])
    maps = []
    for tile in tiles(pictures[0], PATCH):
        patches = tile.patch_embeddings[0]
        nearest = torch.cosine_similarity(patches[:, :, None], others, dim=-1).amax(-1)
        maps.append(alpha * anomalous(patches) + (1 - alpha) * (1 - nearest).clamp(0, 1))
    total, mass = torch.zeros(3, 6), torch.zeros(3, 6)
    for column, tile_map in enumerate(maps):
        for r in range(3):
            for c in range(3):
                towards_edge = min(r + 0.5, 2.5 - r) * min(c + 0.5, 2.5 - c)
                total[r, column + c] += towards_edge * tile_map[r, c]
                mass[r, column + c] += towards_edge
    torch.testing.assert_close(score_map, total / mass, **SAME)
    classes = max(float(anomalous(tile.class_embedding[0])) for tile in tiles(pictures[0], PATCH))
    assert score == pytest.approx(weight * classes + (1 - weight) * float((total / mass).max()), abs=1e-5)
    torch.testing.assert_close(score_map, blend(image.plan, maps), **SAME)
