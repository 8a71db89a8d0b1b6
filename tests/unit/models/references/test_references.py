"""References of images, as passed to the model that scores them."""

from __future__ import annotations

import pytest
import torch
from anomalib.data import InferenceBatch, PredictDataset
from torch.utils.data import DataLoader

from dualclip_lightning.models.references import Bank, Pairs, PerImage, WholeSet, folder_images
from dualclip_lightning.models.references.data import ordered_loader
from dualclip_lightning.pairing import PatchPrediction, random_groups
from tests.towers import random_images, write_image


class Model:
    """Model that scores an image by its mean plus the means of its references, and records its calls."""

    def __init__(self):
        self.told = []

    def __call__(self, images, *names):
        self.told.append(names)
        return InferenceBatch(pred_score=images.flatten(1).mean(dim=1))

    def set_references(self, images, names):
        self.told.append((images, names))

    def predict_patches(self, images, references, names):
        self.told.append((references, names))
        means = images.flatten(1).mean(dim=1)
        others = torch.zeros(len(images)) if references is None else means[references].sum(dim=1)
        return PatchPrediction(means + 10 * others, images[:, 0])

    def predict_sets(self, sets):
        images = [torch.cat(list(part.batches)) for part in sets]
        means = [part.flatten(1).mean(dim=1) for part in images]
        scores = [own + 10 * (own.sum() - own) for own in means]
        return PatchPrediction(torch.cat(scores), torch.cat(images)[:, 0])

    def draw(self, prediction, size):
        return InferenceBatch(pred_score=prediction.scores, anomaly_map=prediction.maps.expand(-1, *size))


@pytest.fixture
def loader(tmp_path):
    """Return a loader of seven images in batches of three."""
    for i in range(7):
        write_image(tmp_path / "images" / f"{i}.png", seed=i)
    dataset = PredictDataset(tmp_path / "images")
    return DataLoader(dataset, batch_size=3, collate_fn=dataset.collate_fn)


def run(references, loader):
    """Return scores by path, and the paths in the order in which they were scored."""
    references.start()
    view, found = ordered_loader(loader, None, "nearest", references.arrange), {}
    for batch in view:
        scores = references.score(batch.image, batch.image_path)
        found |= dict(zip(batch.image_path, scores.pred_score.tolist(), strict=True))
    return found


def means(loader):
    return {item.image_path: float(item.image.mean()) for item in loader.dataset}


def test_without_references_images_keep_their_order_and_are_scored_separately(loader):
    found, expected = run(PerImage(Model()), loader), means(loader)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("named", "told"), [(False, ()), (True, (["a.png", "b.png"],))])
def test_the_model_gets_the_paths_if_it_takes_them(named, told):
    model = Model()
    PerImage(model, named=named).score(random_images(2), ["a.png", "b.png"])
    assert model.told == [told]


@pytest.mark.parametrize("count", [1, 2])
def test_groups_come_from_the_seed_and_their_members_are_compared_with_each_other(loader, count):
    found, own = run(Pairs(Model(), count, seed=3), loader), means(loader)
    names = list(own)
    for group in random_groups(names, count, 3):
        for place, member in enumerate(group):
            others = [names[group[(place + step) % len(group)]] for step in range(1, min(count, len(group) - 1) + 1)]
            assert found[names[member]] == pytest.approx(own[names[member]] + 10 * sum(own[name] for name in others))


def test_a_second_run_forgets_the_groups_of_the_first(loader):
    pairs = Pairs(Model(), 1, seed=3)
    assert run(pairs, loader) == run(pairs, loader)
    assert len(pairs.scoring) == 1


@pytest.mark.parametrize(("batch", "expected"), [(1, None), (2, [[1], [0]]), (4, [[1], [0], [3], [2]])])
def test_images_of_a_batch_without_data_set_are_paired_with_their_neighbours(batch, expected):
    model = Model()
    Pairs(model, 1, seed=0).score(random_images(batch))
    ((references, _),) = model.told
    assert (references if expected is None else references.tolist()) == expected


def test_the_whole_set_scores_every_image_by_all_others(loader):
    found, own = run(WholeSet(Model(), 1, seed=0), loader), means(loader)
    total = sum(own.values())
    assert list(found) == list(own)
    assert found == pytest.approx({path: mean + 10 * (total - mean) for path, mean in own.items()}, rel=1e-4)


def test_a_bank_is_chosen_from_the_data_of_the_run_and_read_once():
    model, asked = Model(), []
    bank = Bank(model, lambda datamodule: asked.append(datamodule) or ["x.png"])
    bank.encode(lambda names: f"images of {names}", "the data")
    assert asked == ["the data"]
    assert model.told == [("images of ['x.png']", ["x.png"])]
    assert bank.files == ("x.png",)


def test_a_folder_without_images_is_refused_by_the_name_of_the_argument(tmp_path):
    with pytest.raises(ValueError, match=f"reference_dir '{tmp_path}' to be a folder with at least one readable image"):
        folder_images(tmp_path)
