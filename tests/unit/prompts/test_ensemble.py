from __future__ import annotations

import re

import pytest

from dualclip_lightning.prompts import WORDINGS, prompt_ensemble

STATES = {"normal": ["good {}"], "anomalous": ["bad {}", "{} with a hole"]}


@pytest.mark.parametrize("class_name", ["screw", "wood"])
def test_seven_states_by_eleven_views_by_two_articles_by_three_nouns(class_name):
    prompts = prompt_ensemble(class_name)
    assert len(prompts.normal) == len(prompts.anomalous) == 7 * 11 * 2 * 3
    assert len({*prompts.normal, *prompts.anomalous}) == 2 * 462


NORMAL = "normal screw|flawless screw|perfect screw|unblemished screw"
ANOMALOUS = "damaged screw|abnormal screw|imperfect screw|blemished screw"


@pytest.mark.parametrize(
    ("side", "states"),
    [
        ("normal", f"{NORMAL}|screw without flaw|screw without defect|screw without damage"),
        ("anomalous", f"{ANOMALOUS}|screw with flaw|screw with defect|screw with damage"),
    ],
)
def test_state_words_are_those_of_the_released_code(side, states):
    sentences = getattr(prompt_ensemble("screw"), side)
    plain = [s for s in sentences if s.startswith("an industrial photo of a ")]
    told = {s.removeprefix("an industrial photo of a ") for s in plain}
    assert {s for s in told if not re.search("small|large| for ", s)} == set(states.split("|"))


@pytest.mark.parametrize(
    "template",
    [
        "a cropped industrial photo of the {}",
        "a close-up industrial image of a {}",
        "a bright manufacturing image of the {}",
        "a dark industrial photo of the {}",
        "a jpeg corrupted industrial photo of a {}",
        "a blurry industrial image of the {}",
        "a manufacturing image of the {}",
        "an industrial photo of a small {}",
        "an industrial photo of the large {}",
        "an industrial image of the {} for visual inspection",
        "a manufacturing image of a {} for anomaly detection",
    ],
)
def test_templates_vary_view_article_and_noun(template):
    assert template in WORDINGS["anoclip"].templates("object")
    assert template.replace("{}", "flawless screw") in prompt_ensemble("screw").normal


def test_textures_have_their_own_nouns():
    sentences = " ".join(prompt_ensemble("carpet").normal)
    assert "textural photo" in sentences
    assert "surface picture" in sentences
    assert "manufacturing image" not in sentences
    assert "textural photo" not in " ".join(prompt_ensemble("carpet", domain="object").normal)
    assert prompt_ensemble("screw", domain="texture").normal[0].endswith("normal screw")


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("name", ["metal_nut", "pcb1", "chewinggum", "steel  plate", "{0} nut {x"])
def test_a_class_name_is_used_unchanged(name, wording):
    prompts = prompt_ensemble(name, wording=wording)
    assert all(name in sentence for side in prompts for sentence in side)


def test_own_states_and_templates_replace_the_default():
    prompts = prompt_ensemble("wood", states=STATES, templates=["a photo of {}", "{}!"])
    assert prompts.normal == ("a photo of good wood", "good wood!")
    assert prompts.anomalous == ("a photo of bad wood", "bad wood!", "a photo of wood with a hole", "wood with a hole!")


def test_equal_sentences_are_kept_once_in_the_order_of_their_first():
    states = {"normal": ["good {}", "fine {}", "good {}"], "anomalous": ["bad {}"]}
    assert prompt_ensemble("wood", states=states, templates=["{}", "{}"]).normal == ("good wood", "fine wood")


def test_a_class_name_with_braces_does_not_break_the_templates():
    assert prompt_ensemble("{0} nut {x", states=STATES, templates=["{}"]).normal == ("good {0} nut {x",)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"class_name": "_"}, "at least one letter"),
        ({"domain": "metal"}, r"\['object', 'texture'\], but got 'metal'"),
        ({"states": {"normal": ["{}"]}}, r"\['normal', 'anomalous'\], but got \['normal'\]"),
        ({"states": {"normal": ["{}"], "abnormal": ["bad {}"]}}, r"but got \['abnormal', 'normal'\]"),
        ({"states": {"normal": [], "anomalous": ["bad {}"]}}, r"states\['normal'\].*at least one"),
        ({"states": {"normal": "good {}", "anomalous": ["bad {}"]}}, r"states\['normal'\] to be a list"),
        ({"states": {"normal": ["good"], "anomalous": ["bad {}"]}}, r"exactly one '\{\}'.*'good'"),
        ({"templates": []}, "templates.*at least one"),
        ({"templates": "a photo of {}"}, "templates to be a list"),
        ({"templates": ["{} and {}"]}, "exactly one"),
        ({"templates": ["{0} of {}"]}, "no other brace"),
        ({"templates": ["{name}"]}, "exactly one"),
        ({"templates": ["{{}}"]}, "no other brace"),
        ({"templates": ["{} {"]}, "no other brace"),
    ],
)
def test_what_cannot_become_a_sentence_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        prompt_ensemble(**{"class_name": "screw"} | arguments)


def test_the_words_of_winclip_are_those_anomalib_lists():
    """anomalib omits two of the 22 templates and lists another one twice, so it has 20 of them."""
    from anomalib.models.image.winclip.prompting import create_prompt_ensemble

    ours = prompt_ensemble("screw", wording="winclip")
    for told, listed in zip(ours, create_prompt_ensemble("screw"), strict=True):
        forgotten = set(told) - set(listed)
        assert set(listed) <= set(told)
        assert {sentence.split("screw")[0].split(" of ")[0] for sentence in forgotten} <= {
            "a cropped photo", "a jpeg corrupted photo",
        }  # fmt: skip
    assert len(ours.normal) == 7 * 22
    assert len(ours.anomalous) == 4 * 22
