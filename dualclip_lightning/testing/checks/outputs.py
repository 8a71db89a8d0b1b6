"""Checks of the scores and maps of images, in a run and directly from the torch module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dualclip_lightning.testing.runs import require, require_shape
from dualclip_lightning.testing.subject import Subject


def every_image_gets_a_finite_score_and_map(subject: Subject) -> None:
    """A test gives every image one finite score, and one map of its size or none; in [0, 1] if the method is ours."""
    found, wanted = subject.expected, sorted(path.relative_to(subject.test_folder).as_posix() for path in
                                             subject.test_folder.rglob("*.png"))  # fmt: skip
    require(sorted(found.scores) == wanted, f"{len(wanted)} images were tested, and {len(found.scores)} got a score.")
    require(len(found.maps) in {0, len(wanted)}, f"{len(found.maps)} of {len(wanted)} images got a map.")
    _require_range("score", map(torch.tensor, found.scores.values()), subject)
    _require_range("map", found.maps.values(), subject)


def images_get_different_scores(subject: Subject) -> None:
    """Random images do not get the same score, and no map has one value."""
    scores, maps = subject.expected.scores, subject.expected.maps
    distinct = len(set(scores.values()))
    require(distinct == len(scores), f"{len(scores)} random images get only {distinct} different score(s).")
    flat = [name for name, each in maps.items() if float(each.std()) == 0]
    require(not flat, f"The maps of {len(flat)} of {len(maps)} random images have a single value ({flat[:1]}).")


def a_batch_of_any_size_is_scored(subject: Subject) -> None:
    """The torch module scores 1, 2 and 5 images at once."""
    subject.require_ours()
    for count in (1, 2, 5):
        _require_scores(subject, subject.inputs(count))


def an_image_need_not_be_square(subject: Subject) -> None:
    """The torch module scores images of 2 by 5 and of 5 by 2 patches."""
    subject.require_ours()
    height, width = subject.patch
    for rows, columns in ((2, 5), (5, 2)):
        _require_scores(subject, subject.inputs(3, rows * height, columns * width))


def an_image_of_one_colour_has_a_finite_score(subject: Subject) -> None:
    """The torch module gives finite scores to images of one value, also a very large one."""
    subject.require_ours()
    for value in (0.0, 1.0, 1e4):
        _require_scores(subject, torch.full_like(subject.inputs(2), value), f" of the constant {value:g}")


@torch.no_grad()
def _require_scores(subject: Subject, images: Tensor, described: str = "") -> Any:
    count, *_, height, width = images.shape
    found = subject.used.model(images)
    require_shape("pred_score", found.pred_score, (count,))
    require_shape("anomaly_map", found.anomaly_map, (count, height, width))
    where = f" for {count} image(s) of {height}x{width}{described}"
    for name, values in (("pred_score", found.pred_score), ("anomaly_map", found.anomaly_map)):
        require(values.dtype == torch.float32, f"{name} is {values.dtype} instead of torch.float32.")
        _require_range(name, [values], subject, where)
    return found


def _require_range(name: str, values: Iterable[Tensor], subject: Subject, where: str = "") -> None:
    for each in values:
        require(bool(torch.isfinite(each).all()), f"A {name} is not finite{where}.")
        low, high = float(each.min()), float(each.max())
        within = low >= 0 and high <= 1
        require(within or not subject.ours, f"A {name} has values from {low:.3g} to {high:.3g}{where}, outside [0, 1].")
