from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dualclip_lightning.demo.figure import Example, choose_examples, plot_examples


def example(path: str, inside: float, outside: float) -> Example:
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    return Example(path, np.where(mask, inside, outside).astype(np.float32), mask)


def test_the_image_is_the_one_with_the_clearest_map_of_the_chosen_variant():
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
        with Image.open(io.BytesIO(plot_examples(shown, ["joint"]))) as picture:
            colours.append({pixel for _, pixel in picture.convert("RGB").getcolors(1 << 20)})
    yellow = (218, 225, 52)  # the last colour of plasma with an opacity of 0.8 over grey 128
    assert all(any(max(abs(a - b) for a, b in zip(c, yellow, strict=True)) < 4 for c in found) for found in colours)


def test_maps_and_masks_have_the_shape_of_their_image(tmp_path, monkeypatch):
    Image.new("RGB", (60, 20), "grey").save(tmp_path / "wide.png")
    Image.new("RGB", (40, 40), "grey").save(tmp_path / "square.png")
    shown = {
        ("spindle", "joint"): example(str(tmp_path / "wide.png"), 0.9, 0.0),
        ("cork", "joint"): example(str(tmp_path / "square.png"), 0.9, 0.0),
    }
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    plot_examples(shown, ["joint"])
    axes = drawn[0].axes[:6]
    extents = [axis.images[0].get_extent() for axis in axes]
    assert [abs((right - left) / (top - bottom)) for left, right, bottom, top in extents] == [3, 3, 3, 1, 1, 1]
    assert [axis.get_ylabel() for axis in axes if axis.get_ylabel()] == ["spindle\n(real)", "cork"]
