from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.demo.figure import Example, choose_examples, draw_examples


def example(path: str, inside: float, outside: float) -> Example:
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    return Example(path, np.where(mask, inside, outside).astype(np.float32), mask)


def test_the_image_is_the_one_in_which_the_chosen_variant_shows_most():
    examples = {
        ("cork", "text"): {"a": example("a", 0.9, 0.0), "b": example("b", 0.1, 0.0)},
        ("cork", "joint"): {"a": example("a", 0.9, 0.8), "b": example("b", 0.5, 0.1)},
        ("tile", "text"): {},
        ("tile", "joint"): {},
    }
    chosen = choose_examples(examples, by="joint")
    assert {key: found.path for key, found in chosen.items()} == {("cork", "text"): "b", ("cork", "joint"): "b"}
    assert chosen["cork", "joint"].contrast == pytest.approx(0.4)


def test_the_highest_score_shown_is_the_end_of_the_scale(tmp_path):
    path = str(tmp_path / "a.png")
    Image.new("RGB", (4, 4), "grey").save(path)
    colours = []
    for highest in (0.2, 0.9):
        shown = {("cork", "joint"): example(path, highest, 0.0)}
        with Image.open(io.BytesIO(draw_examples(shown, ["joint"]))) as picture:
            colours.append({pixel for _, pixel in picture.convert("RGB").getcolors(1 << 20)})
    yellow = (253, 231, 37)  # the last colour of matplotlib's viridis, rounded
    assert all(any(max(abs(a - b) for a, b in zip(c, yellow, strict=True)) < 4 for c in found) for found in colours)
