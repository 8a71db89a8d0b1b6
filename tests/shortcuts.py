"""Work that libraries repeat in every run with the same result, done only once for all tests.

Together it took more than half the time of a run of the tiny CLIP.
"""

from __future__ import annotations

import copy
import gc
import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import open_clip
import pytest
import torch
from anomalib.data.datasets.image import mvtecad
from lightning.fabric.utilities import registry
from open_clip import SimpleTokenizer
from torch.nn import init
from torch.overrides import TorchFunctionMode

from dualclip_lightning.backbone import loading, model


@contextmanager
def shortcuts() -> Iterator[None]:
    """Read vocabularies, weights, folders and entry points once, and exclude libraries from garbage collection."""
    leave_out_of_collections()
    with pytest.MonkeyPatch.context() as patch:
        # Lightning reads the entry points of every installed package for each Trainer.
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
        # Lightning and jsonargparse only want files and frames; the original also searches all modules for sources.
        patch.setattr(inspect, "stack", _stack)
        inspect.getmodule(inspect.currentframe(), "none")  # remembers the files of modules, for forks too
        _list_folders_once(patch)
        _split_texts_once(patch)
        _read_weights_once(patch)
        _let_records_through(patch)
        yield


def _stack(context: int = 1) -> list[inspect.FrameInfo]:
    """Return the frames of the callers without their sources."""
    frame, frames = inspect.currentframe(), []
    while frame := frame and frame.f_back:
        code = frame.f_code
        frames.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
    return frames


def leave_out_of_collections() -> None:
    """Exclude all that exists from garbage collection, of which each cell of a benchmark does a full one."""
    gc.collect()
    gc.freeze()


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


def _read_weights_once(patch: pytest.MonkeyPatch) -> None:
    """Copy models whose files are the same, and leave out the random weights that those of a file replace.

    Most of those are weights of the vocabulary.
    """
    load, digest = loading._load, model.weights_digest
    loaded: dict[tuple[Any, ...], tuple[torch.nn.Module, list[Any]]] = {}
    digests: dict[tuple[Any, ...], str] = {}
    copies: WeakKeyDictionary[torch.nn.Module, tuple[Any, ...]] = WeakKeyDictionary()

    def copied(place: Any, tag: str | None) -> Any:
        if tag == loading.RANDOM:
            return load(place, tag)
        key = place.model, place.file, tag, open_clip.create_model, *_files(place)
        original, state = loaded.get(key, (None, None))
        if original is None or state != _state(original):
            with _Undrawn():
                original = load(place, tag)
            loaded[key] = original, _state(original)
        new = _copy(original, _shared(original))
        copies[new] = key, _state(new)
        return new

    def known(module: torch.nn.Module, more: str = "") -> str:
        key, state = copies.get(module, (None, None))
        if state != _state(module):
            return digest(module, more)
        if (key, more) not in digests:
            digests[key, more] = digest(module, more)
        return digests[key, more]

    patch.setattr(loading, "_load", copied)
    patch.setattr(model, "weights_digest", known)


def _shared(module: torch.nn.Module) -> dict[int, Any]:
    """Return the weights that copies share, by identity: those of the vocabulary, which nothing trains."""
    return {id(value): value for name, value in module.named_parameters() if name.endswith("token_embedding.weight")}


def _state(module: torch.nn.Module) -> list[Any]:
    """Return what differs as soon as weights are replaced or changed in place."""
    weights = module.state_dict(keep_vars=True)
    return [(name, value.data_ptr(), value._version, value.dtype) for name, value in weights.items()]


_PLAIN = str, int, float, type(None)


def _copy(module: torch.nn.Module, memo: dict[int, Any]) -> torch.nn.Module:
    """Do what `copy.deepcopy` does, which takes most of its time for the empty dictionaries of hooks."""
    if id(module) not in memo:
        new = memo[id(module)] = object.__new__(type(module))
        for name, value in vars(module).items():
            if name == "_modules":
                vars(new)[name] = {key: None if part is None else _copy(part, memo) for key, part in value.items()}
            elif isinstance(value, _PLAIN):
                vars(new)[name] = value
            else:
                vars(new)[name] = copy.deepcopy(value, memo) if value or not isinstance(value, dict) else type(value)()
    return memo[id(module)]


def _let_records_through(patch: pytest.MonkeyPatch) -> None:
    """Let the records of PyTorch's loggers reach the root, where pytest waits for them.

    To those that keep their records, it would add its handlers for each phase of each test.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("torch") and isinstance(logger, logging.Logger):
            patch.setattr(logger, "propagate", True)


def _files(place: Any) -> Iterator[tuple[str, int, int]]:
    """Give the name, size and time of the files of a model, which change when it is written again."""
    folder = Path(place.model.removeprefix(loading.LOCAL))
    for path in (*(folder.iterdir() if folder.is_dir() else ()), *([Path(place.file)] if place.file else [])):
        yield str(path), path.stat().st_size, path.stat().st_mtime_ns


def _list_folders_once(patch: pytest.MonkeyPatch) -> None:
    """Copy anomalib's table of the samples of a folder while it has the same files."""
    make = mvtecad.make_mvtec_ad_dataset
    made: dict[tuple[Any, ...], Any] = {}

    def copied(root: Any, split: Any = None, extensions: Any = None) -> Any:
        key = Path.cwd(), root, split, tuple(extensions or ()), *sorted(Path(root).rglob("*"))
        if key not in made:
            made[key] = make(root, split, extensions)
        return made[key].copy()

    patch.setattr(mvtecad, "make_mvtec_ad_dataset", copied)
