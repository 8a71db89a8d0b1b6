"""Work that libraries repeat in every run with the same result, done only once for all tests.

Together it took more than half the time of a run of the tiny CLIP.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from lightning.fabric.utilities import registry
from open_clip import SimpleTokenizer
from torch.nn import init
from torch.overrides import TorchFunctionMode

from dualclip_lightning.backbone import loading


@contextmanager
def shortcuts() -> Iterator[None]:
    """Read vocabularies and entry points only once, and exclude the libraries from garbage collection."""
    gc.collect()
    gc.freeze()  # each cell of a benchmark collects garbage
    with pytest.MonkeyPatch.context() as patch:
        # Lightning reads the entry points of every installed package for each Trainer.
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
        _split_texts_once(patch)
        _draw_no_weights_that_are_loaded(patch)
        yield
    gc.unfreeze()


def _split_texts_once(patch: pytest.MonkeyPatch) -> None:
    """Cache the vocabulary, which open_clip unpacks for every model, and the tokens of each prompt.

    The tokens of a text depend only on the options of the tokenizer.
    """
    make, split = SimpleTokenizer.__init__, SimpleTokenizer.encode
    made: dict[str, dict[str, Any]] = {}

    def init(self: SimpleTokenizer, *args: Any, **kwargs: Any) -> None:
        options = repr((args, kwargs))
        if options not in made:
            make(self, *args, **kwargs)
            made[options] = {**vars(self), "split": {}}
        vars(self).update(made[options])

    def encode(self: SimpleTokenizer, text: str) -> list[int]:
        known = vars(self).setdefault("split", {})
        if text not in known:
            known[text] = split(self, text)
        return [*known[text]]

    patch.setattr(SimpleTokenizer, "__init__", init)
    patch.setattr(SimpleTokenizer, "encode", encode)


class _Undrawn(TorchFunctionMode):
    """Weights that would be drawn are NaN, so that one that is not loaded afterwards does not go unnoticed."""

    drawing = {init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_, init.kaiming_uniform_}  # noqa: RUF012 - a constant

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func not in self.drawing:
            return func(*args, **named)
        with torch.no_grad():
            return (args[0] if args else named["tensor"]).fill_(torch.nan)


def _draw_no_weights_that_are_loaded(patch: pytest.MonkeyPatch) -> None:
    """Let open_clip leave out the random weights that those of the file replace, most of them of its vocabulary."""
    load = loading._load

    def undrawn(place: Any, tag: str | None) -> Any:
        with nullcontext() if tag == loading.RANDOM else _Undrawn():
            return load(place, tag)

    patch.setattr(loading, "_load", undrawn)
