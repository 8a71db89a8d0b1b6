from __future__ import annotations

import importlib
import inspect
import re

import anomalib.data.datamodules.image as anomalib_images
import pytest
from anomalib.data import AnomalibDataModule

from dualclip_lightning.prompts import WORDINGS, check_words, class_words, is_texture
from dualclip_lightning.prompts.categories import DATA_WORDS, check_class_name


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


OF_THE_USER = {"Datumaro", "Folder", "Tabular"}
"""Datamodules that have no categories."""
IMAGE_DATA = {
    name: module
    for name, module in inspect.getmembers(anomalib_images, inspect.isclass)
    if issubclass(module, AnomalibDataModule) and name not in OF_THE_USER
}


def categories(module):
    """Return the categories that anomalib lists for a datamodule, if any."""
    source = importlib.import_module(module.__module__.replace("datamodules", "datasets"))
    default = inspect.signature(module).parameters.get("category")
    if hasattr(source, "CATEGORIES"):
        return source.CATEGORIES
    return ("",) if default is None else (default.default,)


@pytest.mark.parametrize("name", IMAGE_DATA)
def test_every_category_that_anomalib_lists_has_words(name):
    for category in categories(IMAGE_DATA[name]):
        words = class_words(category, data=name)
        assert re.fullmatch(r"[A-Za-z][A-Za-z -]{2,}", words), f"{name}: {category!r} is called {words!r}"
        assert words.lower() != name.lower()


def test_words_of_a_data_set_are_only_listed_for_its_categories():
    assert DATA_WORDS.keys() <= IMAGE_DATA.keys()
    for name, words in DATA_WORDS.items():
        assert set(words) <= {*categories(IMAGE_DATA[name]), ""}


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
