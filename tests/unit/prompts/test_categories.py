from __future__ import annotations

import pytest

from dualclip_lightning.prompts import WORDINGS, check_words, class_words, is_texture
from dualclip_lightning.prompts.categories import check_class_name


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
        ("Schraube M4", "Schraube M4"),
        ("螺丝", "螺丝"),
    ],
)
def test_categories_become_words(category, words):
    assert class_words(category) == words


@pytest.mark.parametrize("category", ["metal_nut", "pcb1", "pcb4", "chewinggum", "pipe_fryum", "bottle", "PCB1"])
@pytest.mark.parametrize("wording", WORDINGS)
def test_released_words_are_the_category_as_it_stands(category, wording):
    assert class_words(category, "released", WORDINGS[wording].renamed) == category


@pytest.mark.parametrize(("wording", "words"), [("anoclip", "macaroni"), ("winclip", None), ("clip_ad", None)])
@pytest.mark.parametrize("category", ["macaroni1", "macaroni2"])
def test_only_the_released_code_of_anoclip_renames_macaroni(category, wording, words):
    assert class_words(category, "released", WORDINGS[wording].renamed) == (words or category)


@pytest.mark.parametrize("words", ["", "Plain", "raw", None])
def test_other_words_are_refused_with_the_choices(words):
    with pytest.raises(ValueError, match="words to be 'plain' or 'released'"):
        check_words(words)


@pytest.mark.parametrize("name", ["", " ", "_", "__ _", "{}", "-"])
def test_a_class_name_without_a_letter_is_refused(name):
    with pytest.raises(ValueError, match=r"at least one letter.*Set class_name"):
        check_class_name(name)


@pytest.mark.parametrize("category", ["carpet", "grid", "leather", "tile", "wood"])
def test_the_five_textures_of_mvtec_ad_are_textures(category):
    assert is_texture(category)
    assert is_texture(f" {category.upper()} ")


@pytest.mark.parametrize("category", ["bottle", "metal_nut", "pcb1", "candle", "object", "something new"])
def test_anything_else_is_an_object(category):
    assert not is_texture(category)
