"""Checks of what a score may depend on: the images of its kind and the seed, but nothing else."""

from __future__ import annotations

from unittest import SkipTest

import torch
from anomalib.data import PredictDataset
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from dualclip_lightning.testing.runs import require, require_same
from dualclip_lightning.testing.subject import COUNT, OTHERS, Subject


def batches_change_no_score(subject: Subject) -> None:
    """Neither the batch size nor an incomplete last batch changes a score."""
    for size in (1, 4):
        found = subject.run(subject.make(), datamodule=subject.data(eval_batch_size=size))
        require_same(found, subject.expected, f"In batches of {size} instead of {COUNT}")


def the_order_of_images_changes_no_score(subject: Subject) -> None:
    """The same images in another order get the same scores."""
    dataset = PredictDataset(subject.test_folder)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    dataset.image_filenames = [dataset.image_filenames[i] for i in order]
    found = subject.run(subject.make(), "predict", dataloaders=_in_one_batch(dataset))
    require_same(found, subject.expected, "In another order")


def a_score_depends_on_no_other_image(subject: Subject) -> None:
    """An image that is scored alone gets the same score, unless the kind of the method says otherwise."""
    if subject.kind & OTHERS:
        raise SkipTest(f"Scores depend on other images, because the kind is '{subject.kind}'.")
    for image in sorted(subject.test_folder.rglob("*.png"))[::8]:
        found = subject.run(subject.make(), "predict", data_path=image)
        require_same(found, subject.expected, "Without the other images")


def labels_and_masks_change_no_score(subject: Subject) -> None:
    """Inverted labels and masks of other images change no score."""
    garbage = subject.data()
    garbage.setup(TrainerFn.TESTING)
    samples = garbage.test_data.samples
    samples["mask_path"] = next(path for path in samples.mask_path if path)
    samples["label_index"] = 1 - samples.label_index
    found = subject.run(subject.make(), datamodule=garbage)
    require_same(found, subject.expected, "With wrong labels and masks")


def images_without_labels_get_the_same_scores(subject: Subject) -> None:
    """`predict` on a folder, which has no labels, gives the scores and maps of `test`."""
    dataset = PredictDataset(subject.test_folder)
    found = subject.run(subject.make(), "predict", dataloaders=_in_one_batch(dataset))
    require_same(found, subject.expected, "In predict, without labels")


def the_same_seed_gives_the_same_result(subject: Subject) -> None:
    """Two objects with the same seed give the same scores and maps, bit by bit."""
    require_same(subject.twin.record, subject.expected, "With the same seed", exactly=True)


def a_second_run_gives_the_same_result(subject: Subject) -> None:
    """The same object gives the same scores and maps again, bit by bit."""
    twin = subject.twin
    found = subject.run(twin.method)
    require_same(found, twin.record, "In a second run of the same object", exactly=True)


def the_callers_generator_is_left_alone(subject: Subject) -> None:
    """Scoring does not draw from the global generator of torch."""
    subject.require_ours()
    before = torch.get_rng_state()
    with torch.no_grad():
        subject.used.model(subject.inputs(2))
    require(torch.equal(torch.get_rng_state(), before),
            "Scoring draws from the global generator of torch. Use a generator with self.seed.")  # fmt: skip


def _in_one_batch(dataset: PredictDataset) -> DataLoader:
    return DataLoader(dataset, batch_size=COUNT, collate_fn=dataset.collate_fn)
