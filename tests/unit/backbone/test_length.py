from __future__ import annotations

import logging

import open_clip
import pytest

from dualclip_lightning.backbone.length import check_length
from dualclip_lightning.prompts import PromptPair, prompt_ensemble, text_anchors
from tests.towers import tiny_backbone

TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
CHINESE = "用于汽车发动机冷却系统的高强度铝合金压铸水泵壳体外部零件组"


def test_short_sentences_pass_without_a_message(caplog):
    check_length(TOKENIZER, ["a photo of wood"], ["a photo of scratched wood"])
    assert caplog.records == []


def test_the_longest_sentence_that_fits_passes(caplog):
    fits = " ".join(["wood"] * 75)  # 77 with the tokens of start and end
    check_length(TOKENIZER, [fits], ["scratched wood"])
    assert caplog.records == []
    check_length(TOKENIZER, [f"{fits} grain"], ["scratched wood"])
    assert "1 of 2 prompts are longer than the 77 tokens" in caplog.text
    assert "Lost: 'grain'" in caplog.text


@pytest.mark.parametrize("text", ["~" * 74, "~" * 75, "\u0130" * 40, "\ufdfa" * 20])
def test_a_text_is_split_into_tokens_unless_its_characters_are_few(text, caplog):
    check_length(TOKENIZER, [text], ["scratched"])
    tokens = len(TOKENIZER.encode(text)) + 2
    assert ("are cut" in caplog.text) == (tokens > 77)


def test_the_reported_words_are_those_that_open_clip_drops(caplog):
    text = "a " * 70 + "flawless metal nut lying on a wooden table"
    kept = TOKENIZER.decode(TOKENIZER([text])[0].tolist()).removeprefix("<start_of_text>").partition("<end_of_text>")[0]
    check_length(TOKENIZER, [text], ["scratched"])
    lost = text.removeprefix(kept.strip()).strip()
    assert lost.endswith("wooden table")
    assert f"Lost: '{lost}'" in caplog.text


def test_states_that_become_identical_raise_an_error():
    long = "wood " * 80
    with pytest.raises(ValueError, match=r"2 of 2 prompts.*1 become the same for the normal and the anomalous state"):
        check_length(TOKENIZER, [f"{long} without flaw"], [f"{long} with damage"])


def test_identical_states_are_not_reported_as_too_long(caplog):
    check_length(TOKENIZER, ["wood"], ["wood"])
    assert caplog.records == []


@pytest.mark.slow
def test_a_long_class_name_is_refused_where_prompts_of_both_states_become_one():
    prompts = prompt_ensemble(CHINESE, "object")
    with pytest.raises(ValueError, match=r"prompts are longer than the 77 tokens.*become the same.*shorter class name"):
        text_anchors(tiny_backbone(), prompts)


def test_anchors_from_the_cache_warn_too(caplog, tmp_path):
    prompts = PromptPair(["wood " * 80], ["scratched " + "wood " * 80])
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            text_anchors(tiny_backbone(), prompts, tmp_path)
        assert "are cut. Lost: " in caplog.text
