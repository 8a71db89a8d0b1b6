"""The captions used in training, and the anchors computed from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualclip_lightning.demo.training.words import OTHER_WORDS, Words, captions
from dualclip_lightning.prompts import WORDINGS, prompt_ensemble
from tests.towers import DIM, tiny_clip


@pytest.mark.parametrize("domain", ["object", "texture"])
def test_captions_are_the_templates_of_the_methods_with_the_article_a(domain):
    asked = WORDINGS["anoclip"].templates(domain)
    assert captions(domain) == ["a " + template.removeprefix("an ").removeprefix("a ") for template in asked]
    assert len(set(captions(domain))) == 11 * 2 * 3
    assert prompt_ensemble("nut", templates=captions(domain))  # each has exactly one slot


def test_objects_and_textures_have_their_own_captions():
    assert any("manufacturing image" in caption for caption in captions("object"))
    assert any("surface picture" in caption for caption in captions("texture"))
    assert not any("surface picture" in caption for caption in captions("object"))


@torch.no_grad()
def test_anchors_are_unit_vectors_that_depend_on_name_and_state():
    def anchors(names):
        return Words(tiny_clip(), np.random.default_rng(0), prompts=3).anchors(names)

    found = anchors(["nut", "cable"])
    assert found.shape == (2, 2, DIM)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 2))
    torch.testing.assert_close(found, anchors(["nut", "cable"]))
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-3)
    assert not torch.allclose(found, anchors(["nut", "tile"]), atol=1e-3)


def test_the_name_is_replaced_in_about_half_of_the_cases():
    words = Words(tiny_clip(), np.random.default_rng(0), prompts=1)
    said = [words.say("plate") for _ in range(400)]
    assert 150 < said.count("plate") < 250
    assert {*said} <= {"plate", *OTHER_WORDS}
