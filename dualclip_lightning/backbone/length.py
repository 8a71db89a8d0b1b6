"""Check for sentences that are longer than the limit of a text tower; tokenizers truncate them silently."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch

SHOWN = 3
_LONGER = 8
"""Multiple of the limit up to which sentences are read, to find the part that is truncated."""

logger = logging.getLogger(__name__)


def check_length(tokenizer: Any, normal: Sequence[str], anomalous: Sequence[str]) -> None:
    """Warn of sentences that are truncated, and show the part that is lost.

    Args:
        tokenizer: tokenizer of open_clip; one without `context_length` is not checked.
        normal: sentences of the normal state.
        anomalous: sentences of the anomalous state.

    Raises:
        ValueError: a truncated sentence of one state equals one of the other state, so that it describes neither.
    """
    texts = list(dict.fromkeys([*normal, *anomalous]))
    doubtful = [text for text in texts if not _surely_fits(text, _limit(tokenizer))]
    lengths = zip(doubtful, _lengths(tokenizer, doubtful), strict=True)
    cut = [text for text, length in lengths if length > _limit(tokenizer)]
    if not cut:
        return
    lost = list(dict.fromkeys(_lost(tokenizer, text) for text in cut))
    words = ", ".join(f"'{text}'" for text in lost[:SHOWN]) + (f" and {len(lost) - SHOWN} more" * (len(lost) > SHOWN))
    what = (
        f"{len(cut)} of {len(texts)} prompts are longer than the {_limit(tokenizer)} tokens that the text tower reads"
    )
    same = _same(tokenizer, normal, anomalous, set(cut))
    if same:
        msg = (
            f"{what}, and cut to that {same} become the same for the normal and the anomalous state (lost: {words}). "
            "Choose a shorter class name, states or templates."
        )
        raise ValueError(msg)
    logger.warning("%s, and are cut. Lost: %s. A shorter class name keeps them.", what, words)


def _limit(tokenizer: Any) -> int:
    return int(getattr(tokenizer, "context_length", None) or 0)


def _surely_fits(text: str, limit: int) -> bool:
    """Return whether a text fits by its number of characters, without splitting it into tokens.

    No tokenizer makes more than one token of an ASCII character, apart from those of the start and the end and one for
    the space that some put first.
    """
    return text.isascii() and len(text) + 3 <= limit


def _lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, with start and end tokens; 0 if the tokenizer has no limit."""
    limit = _limit(tokenizer)
    if not limit or not texts:
        return [0] * len(texts)
    rows = tokenizer(list(texts), context_length=_LONGER * limit)
    told = rows != rows[:, -1:]  # padding follows the last token
    return (told * torch.arange(1, rows.shape[1] + 1)).amax(dim=1).tolist()


def _lost(tokenizer: Any, text: str) -> str:
    """Return the end of a text that does not fit, from the first character whose token is truncated."""
    limit = _limit(tokenizer)
    kept = bisect_left(range(1, len(text) + 1), True, key=lambda end: _lengths(tokenizer, [text[:end]])[0] > limit)
    return text[kept:].strip()


def _same(tokenizer: Any, normal: Sequence[str], anomalous: Sequence[str], cut: set[str]) -> int:
    """Return the number of sentences of the normal state that equal one of the anomalous state once truncated."""
    first, second = (
        {tuple(row): text for row, text in zip(tokenizer(list(texts)).tolist(), texts, strict=True)}
        for texts in (normal, anomalous)
    )
    return sum(text in cut or second[row] in cut for row, text in first.items() if row in second)
