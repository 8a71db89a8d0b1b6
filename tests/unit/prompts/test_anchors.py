from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from dualclip_lightning.prompts import PromptPair, text_anchors, text_embeddings
from dualclip_lightning.prompts.anchors import compute_anchors, compute_embeddings
from tests.towers import tiny_backbone

PROMPTS = PromptPair(("a good screw", "a fine screw", "screw"), ("a bad screw", "a screw with a hole"))


@pytest.fixture
def backbone():
    return tiny_backbone()


@pytest.fixture
def encodings(backbone):
    """List with one entry per call of the text tower."""
    calls = []
    hook = backbone.clip.transformer.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    hook.remove()


@pytest.mark.parametrize("mean", ["raw", "unit"])
def test_anchors_are_the_normalised_mean_of_embeddings_as_they_come_or_at_length_one(backbone, mean):
    anchors = compute_anchors(backbone, PROMPTS, mean)
    assert anchors.shape == (2, 32)
    for anchor, texts in zip(anchors, PROMPTS, strict=True):
        total = torch.zeros(32)
        for text in texts:
            embedding = backbone.clip.encode_text(backbone.tokenizer([text]))[0]
            total += embedding / (embedding.square().sum().sqrt() if mean == "unit" else 1)
        torch.testing.assert_close(anchor, total / total.square().sum().sqrt(), atol=1e-6, rtol=0)


def test_both_means_have_an_entry_of_their_own_and_another_is_refused(backbone, tmp_path):
    raw, unit = (text_anchors(backbone, PROMPTS, tmp_path, mean) for mean in ("raw", "unit"))
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path), raw)
    assert not torch.equal(raw, unit)
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path, "unit"), unit)
    with pytest.raises(ValueError, match="Expected text_mean to be 'raw' or 'unit', but got 'median'"):
        text_anchors(backbone, PROMPTS, tmp_path, "median")


def test_the_second_call_reads_what_the_first_wrote(backbone, encodings, tmp_path):
    first = text_anchors(backbone, PROMPTS, tmp_path)
    assert encodings
    encodings.clear()
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path), first)
    assert not encodings
    assert len(list(tmp_path.iterdir())) == 1


def test_the_cache_lies_where_the_environment_says(backbone, monkeypatch, tmp_path):
    monkeypatch.setenv("DUALCLIP_CACHE", str(tmp_path / "chosen"))
    text_anchors(backbone, PROMPTS)
    assert len(list((tmp_path / "chosen" / "anchors").glob("*.safetensors"))) == 1


def test_another_pooling_or_tokenizer_with_the_same_weights_has_an_entry_of_its_own(backbone, tmp_path):
    pooled = tiny_backbone()
    pooled.clip.text_pool_type = "last"
    joined = tiny_backbone()
    joined = replace(joined, tokenizer=lambda texts: backbone.tokenizer([text.replace("-", "") for text in texts]))
    assert backbone.digest == pooled.digest == joined.digest
    for other in (backbone, pooled, joined):
        torch.testing.assert_close(text_anchors(other, PROMPTS, tmp_path), compute_anchors(other, PROMPTS))
    assert len(list(tmp_path.iterdir())) == 3


def test_other_weights_or_other_words_have_other_entries(backbone, tmp_path):
    text_anchors(backbone, PROMPTS, tmp_path)
    text_anchors(tiny_backbone(seed=1), PROMPTS, tmp_path)
    text_anchors(backbone, PROMPTS._replace(normal=PROMPTS.normal[:2]), tmp_path)
    text_anchors(backbone, PromptPair(PROMPTS.anomalous, PROMPTS.normal), tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    text_anchors(replace(backbone, name="renamed"), PROMPTS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def half_of(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nothing(path):
    path.write_bytes(b"")


def noise(path):
    path.write_bytes(os.urandom(300))


def zeros(path):
    save_file({"anchors": torch.zeros(2, 32)}, path)


def not_a_number(path):
    save_file({"anchors": torch.full((2, 32), torch.nan)}, path)


def another_name(path):
    save_file({"other": torch.ones(2, 32)}, path)


def three_states(path):
    save_file({"anchors": torch.nn.functional.normalize(torch.ones(3, 32), dim=-1)}, path)


def flipped_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40  # flips an exponent bit of the last number
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "damage", [half_of, nothing, noise, zeros, not_a_number, another_name, three_states, flipped_byte]
)
def test_a_damaged_entry_is_reported_ignored_and_rewritten(backbone, tmp_path, damage, caplog):
    expected = text_anchors(backbone, PROMPTS, tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path), expected)
    assert torch.equal(load_file(path)["anchors"], expected)
    assert "damaged" in caplog.text
    assert path.name in caplog.text


def test_a_folder_that_cannot_be_written_only_gives_a_warning(backbone, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    expected = compute_anchors(backbone, PROMPTS)
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path / "file" / "anchors"), expected)
    assert "Cannot keep text embeddings" in caplog.text


def test_a_folder_in_the_place_of_the_entry_only_gives_a_warning(backbone, tmp_path, caplog):
    expected = text_anchors(backbone, PROMPTS, tmp_path)
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path), expected)
    assert "Cannot keep text embeddings" in caplog.text
    assert list(tmp_path.iterdir()) == [path]


def test_every_sentence_has_its_own_embedding_of_length_1_in_order(backbone, tmp_path):
    states = text_embeddings(backbone, PROMPTS, tmp_path)
    assert [tuple(state.shape) for state in states] == [(3, 32), (2, 32)]
    for state, texts in zip(states, PROMPTS, strict=True):
        for embedding, text in zip(state, texts, strict=True):
            expected = backbone.clip.encode_text(backbone.tokenizer([text]))[0]
            torch.testing.assert_close(embedding, expected / expected.square().sum().sqrt(), atol=1e-6, rtol=0)


def test_embeddings_are_read_back_and_share_a_folder_with_anchors(backbone, encodings, tmp_path):
    anchors, states = text_anchors(backbone, PROMPTS, tmp_path), text_embeddings(backbone, PROMPTS, tmp_path)
    encodings.clear()
    again = text_embeddings(backbone, PROMPTS, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(again, states, strict=True))
    assert torch.equal(text_anchors(backbone, PROMPTS, tmp_path), anchors)
    assert not encodings
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", [half_of, nothing, another_name, flipped_byte])
def test_damaged_embeddings_are_reported_ignored_and_rewritten(backbone, tmp_path, damage, caplog):
    text_embeddings(backbone, PROMPTS, tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    expected = compute_embeddings(backbone, PROMPTS)
    assert all(torch.equal(a, b) for a, b in zip(text_embeddings(backbone, PROMPTS, tmp_path), expected, strict=True))
    assert torch.equal(load_file(path)["anomalous"], expected[1])
    assert "damaged" in caplog.text
