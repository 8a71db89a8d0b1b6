from __future__ import annotations

import pytest

from dualclip_lightning.prompts import class_words, is_texture


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("metal_nut", "metal nut"),
        ("pcb1", "printed circuit board"),
        ("PCB4", "printed circuit board"),
        ("macaroni1", "macaroni"),
        ("macaroni2", "macaroni"),
        ("pipe_fryum", "pipe fryum"),
        ("chewinggum", "chewing gum"),
        ("hazelnut", "hazelnut"),
        ("  steel \t plate ", "steel plate"),
        ("a__b", "a b"),
        ("{class}", "class"),
        ("Schraube M4", "Schraube M4"),
        ("螺丝", "螺丝"),
    ],
)
def test_categories_become_words(category, words):
    assert class_words(category) == words


@pytest.mark.parametrize("category", ["", " ", "_", "__ _", "{}", "-"])
def test_a_class_name_without_a_letter_is_refused(category):
    with pytest.raises(ValueError, match=r"at least one letter.*Set class_name"):
        class_words(category)


@pytest.mark.parametrize("category", ["carpet", "grid", "leather", "tile", "wood"])
def test_the_five_textures_of_mvtec_ad_are_textures(category):
    assert is_texture(category)
    assert is_texture(f" {category.upper()} ")


@pytest.mark.parametrize("category", ["bottle", "metal_nut", "pcb1", "candle", "object", "something new"])
def test_anything_else_is_an_object(category):
    assert not is_texture(category)
