from __future__ import annotations

import open_clip
import pytest
import torch

from dualclip_lightning.backbone import encode_texts
from dualclip_lightning.backbone.text import _can_cut
from tests.towers import CONFIG, tiny_clip

TEXTS = ["a photo of a damaged metal nut for visual inspection", "screw", "a bright photo of wood", "", "a " * 100]
TOKENIZER = open_clip.get_tokenizer("ViT-B-32")
ROUNDING = {"atol": 5e-6, "rtol": 0}


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


@pytest.fixture
def encoded(monkeypatch, clip):
    """List of the shapes of all token batches that reach the text tower."""
    shapes = []
    hook = clip.token_embedding.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    yield shapes
    hook.remove()


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_cut_sentences_have_the_embeddings_of_the_full_length(clip, batch_size):
    expected = clip.encode_text(TOKENIZER(TEXTS))
    torch.testing.assert_close(encode_texts(clip, TOKENIZER, TEXTS, batch_size), expected, **ROUNDING)


@torch.no_grad()
def test_the_cut_is_exact_and_not_an_approximation():
    clip = tiny_clip().double()
    clip.transformer.get_cast_dtype = lambda: torch.float64
    expected = clip.encode_text(TOKENIZER(TEXTS))
    torch.testing.assert_close(encode_texts(clip, TOKENIZER, TEXTS, batch_size=2), expected, atol=1e-13, rtol=0)


@torch.no_grad()
def test_what_follows_the_end_of_text_token_has_no_influence_at_all(clip):
    tokens = TOKENIZER(TEXTS[:3])
    ends = tokens.argmax(dim=-1)
    noisy = tokens.clone()
    for row, end in zip(noisy, ends, strict=True):
        row[end + 1 :] = torch.randint(1, 40000, (len(row) - end - 1,), generator=torch.Generator().manual_seed(1))
    assert torch.equal(clip.encode_text(noisy), clip.encode_text(tokens))


def test_no_token_after_the_longest_sentence_of_a_batch_is_computed(clip, encoded):
    lengths = sorted(int(n) + 1 for n in TOKENIZER(TEXTS[:4]).argmax(dim=-1))
    encode_texts(clip, TOKENIZER, TEXTS[:4], batch_size=2)
    assert encoded == [(2, lengths[1]), (2, lengths[3])]


def test_equal_sentences_are_encoded_once_and_order_is_kept(clip, encoded):
    texts = ["wood", "screw", "wood", "tile", "screw"]
    embeddings = encode_texts(clip, TOKENIZER, texts)
    assert sum(batch for batch, _ in encoded) == 3
    assert embeddings.shape == (5, 32)
    assert torch.equal(embeddings[0], embeddings[2])
    assert torch.equal(embeddings[1], embeddings[4])
    for text, embedding in zip(texts, embeddings, strict=True):
        torch.testing.assert_close(embedding, encode_texts(clip, TOKENIZER, [text])[0], **ROUNDING)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{"no_causal_mask": True}, {"pool_type": "last"}, {"pool_type": "first"}],
    ids=["without causal mask", "pools the last token", "pools the first token"],
)
def test_a_text_tower_that_cannot_be_cut_is_encoded_whole(changes):
    clip = tiny_clip(**changes)
    assert not _can_cut(clip)
    expected = clip.encode_text(TOKENIZER(TEXTS))
    torch.testing.assert_close(encode_texts(clip, TOKENIZER, TEXTS, batch_size=2), expected, **ROUNDING)


@torch.no_grad()
def test_a_model_with_a_separate_text_tower_is_encoded_whole():
    clip = open_clip.model.CustomTextCLIP(**CONFIG).eval()
    assert not _can_cut(clip)
    expected = clip.encode_text(TOKENIZER(TEXTS))
    torch.testing.assert_close(encode_texts(clip, TOKENIZER, TEXTS, batch_size=2), expected, **ROUNDING)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"proj_type": "none", "width": 32}, {"proj_bias": True}])
def test_every_form_of_text_projection_is_applied(changes):
    clip = tiny_clip(**changes)
    assert _can_cut(clip)
    expected = clip.encode_text(TOKENIZER(TEXTS))
    torch.testing.assert_close(encode_texts(clip, TOKENIZER, TEXTS), expected, **ROUNDING)


def test_embeddings_come_without_gradient(clip):
    clip.requires_grad_(requires_grad=True)
    try:
        assert not encode_texts(clip, TOKENIZER, ["wood"]).requires_grad
    finally:
        clip.requires_grad_(requires_grad=False)


def test_no_sentence_is_an_error(clip):
    with pytest.raises(ValueError, match="at least one text"):
        encode_texts(clip, TOKENIZER, [])
