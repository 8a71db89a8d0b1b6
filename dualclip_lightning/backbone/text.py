"""CLIP text embeddings of sentences, without computing tokens that do not affect them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from open_clip import CLIP
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

Tokenizer = Callable[[list[str]], Tensor]


@torch.no_grad()
def encode_texts(clip: nn.Module, tokenizer: Tokenizer, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Return embeddings [P, D] of P sentences, not normalised, in the order given; equal sentences are encoded once.

    With a causal mask, no token attends to later ones. So if the end-of-text token is pooled, the padding after the
    longest sentence of a batch is cut off, which yields the same embeddings. Sentences are sorted by length, so that
    short ones share a short batch.

    Raises:
        ValueError: there is no sentence.
    """
    if not texts:
        msg = "Expected at least one text to encode, but got none."
        raise ValueError(msg)
    distinct = list(dict.fromkeys(texts))
    tokens = tokenizer(distinct).to(cast("CLIP", clip).logit_scale.device)  # the towers may be on different devices
    order = torch.arange(len(tokens), device=tokens.device)
    encode: Callable[[Tensor], Tensor] = cast("CLIP", clip).encode_text
    if _can_cut(clip):
        encode, order = partial(encode_tokens, clip), tokens.argmax(dim=-1).argsort()
    embeddings = torch.cat([encode(part) for part in tokens[order].split(batch_size)])
    row = {text: i for i, text in enumerate(distinct)}
    return embeddings[order.argsort()][[row[text] for text in texts]]


def _can_cut(clip: nn.Module) -> bool:
    """Return whether this text tower is causal and pools the end-of-text token, which has the largest number."""
    return isinstance(clip, CLIP) and clip.attn_mask is not None and clip.text_pool_type == "argmax"


def encode_tokens(clip: CLIP, tokens: Tensor) -> Tensor:
    """Return embeddings [P, D] of tokens [P, T] of a causal text tower, cut to the longest; gradients are supported."""
    length = int(tokens.argmax(dim=-1).max()) + 1
    tokens = tokens[:, :length]
    dtype = clip.transformer.get_cast_dtype()
    x = clip.token_embedding(tokens).to(dtype) + clip.positional_embedding[:length].to(dtype)
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
    pooled = text_global_pool(x, tokens, clip.text_pool_type)
    if clip.text_projection is None:
        return pooled
    if isinstance(clip.text_projection, nn.Linear):
        return clip.text_projection(pooled)
    return pooled @ clip.text_projection
