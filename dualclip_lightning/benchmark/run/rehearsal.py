"""Building of every method before anything runs, so that what it refuses is refused first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.plan.methods import accepts, method_class
from dualclip_lightning.benchmark.run.methods import build_method, is_trained, kind_of, own_kind
from dualclip_lightning.benchmark.run.weights import Download, built_offline
from dualclip_lightning.models.base import Kind
from dualclip_lightning.weights.fetching import first_line

LENGTHS = ("max_epochs", "max_steps", "max_time")
"""Settings of a Trainer that end a training."""
OWN_IMAGES = ("reference_dir", "few_shot_source")
"""Arguments with which a few-shot method brings its own normal images."""


class Need(NamedTuple):
    """Weights that a method needs and this machine does not have."""

    cell: Cell
    download: Download

    def sentence(self, failure: Exception | None = None) -> str:
        """Return the sentence about them, with a remedy if they cannot be downloaded."""
        file, cache = self.download
        start = f"methods.{self.cell.method}: {self.cell.model} needs {file}, which is not in '{cache}' and"
        if failure is None:
            return f"{start} will be downloaded."
        random = accepts(method_class(self.cell.model), "pre_trained")
        remedy = "Set `arguments: {pre_trained: false}` for random weights, or put" if random else "Put"
        return f"{start} cannot be downloaded ({first_line(failure)}). {remedy} a copy there, or take the method out."


class Rehearsal(NamedTuple):
    """What building the methods has shown."""

    needs: list[Need]
    """Weights to be downloaded, once for each method and its arguments."""
    learning: list[Cell]
    """Cells whose methods need normal training images of their categories."""


def rehearse(cells: Sequence[Cell]) -> Rehearsal:
    """Build every method once with each of its arguments, so that invalid arguments are refused before anything runs.

    Nothing is downloaded. Damaged weights are not refused here; they fail the cells that need them.

    Raises:
        ConfigError: constructors refuse arguments, or settings do not fit a method; the message has one line each.
    """
    different: dict[Any, list[Cell]] = {}
    for cell in cells:
        different.setdefault((cell.method, json.dumps(dict(cell.arguments), default=str)), []).append(cell)
    refused, needs, learning = [], [], []
    for same in different.values():
        model, error, asked = built_offline(partial(build_method, same[0]))
        if error is not None and asked:
            needs.append(Need(same[0], asked[0]))
        elif refusal := _refusal(model, error, same[0]):
            refused.append(refusal)
        elif model is not None and needs_training_images(model, same[0]):
            learning += same
    if refused:
        raise ConfigError("\n".join(dict.fromkeys(refused)))
    return Rehearsal(needs, learning)


def fetch_weights(needs: Iterable[Need]) -> None:
    """Download weights before anything runs, by building the methods that need them.

    Raises:
        ConfigError: weights cannot be downloaded, or a method refuses its arguments; one line each.
    """
    refused: list[str | None] = []
    for need in needs:
        try:
            model, error = build_method(need.cell), None
        except Exception as failure:  # noqa: BLE001  # clients of the network raise many kinds
            model, error = None, failure
        refusal = _refusal(model, error, need.cell)
        refused.append(need.sentence(error) if error is not None and refusal is None else refusal)
    if found := list(dict.fromkeys(filter(None, refused))):
        raise ConfigError("\n".join(found))


def needs_training_images(model: Any, cell: Cell) -> bool:
    """Return whether a method needs normal training images of the category."""
    own = any(cell.arguments.get(name) for name in OWN_IMAGES)
    return is_trained(model) or (not own and Kind.FEW_SHOT in kind_of(model, cell))


def _refusal(model: Any, error: Exception | None, cell: Cell) -> str | None:
    """Return what is wrong with the settings of a method; None if nothing is, or if it failed for another reason."""
    # Some errors of downloads are both ValueError and OSError.
    settings = isinstance(error, TypeError | ValueError | NotImplementedError) and not isinstance(error, OSError)
    problem = str(error) if settings else None
    if model is not None:
        try:
            problem = next(_problems(model, cell), None)
        except ValueError as unknown_kind:
            problem = str(unknown_kind)
    return None if problem is None else f"methods.{cell.method}: {problem}"


def _problems(model: Any, cell: Cell) -> Iterator[str]:
    yield from _checkpoint_problems(model, cell)
    if cell.kind is not None and own_kind(model) is not None:
        yield f"its class says of which kind it is, {own_kind(model)}. Take `kind` out."
    yield from _training_problems(model, cell) if is_trained(model) else _idle_settings(cell)


def _training_problems(model: Any, cell: Cell) -> Iterator[str]:
    """Yield errors of the settings of training."""
    if cell.k_shot is not None and accepts(type(model), "k_shot"):
        yield f"{type(model).__name__} draws its own images. Set `arguments: {{k_shot: {cell.k_shot}}}` instead."
    if not any(name in {**model.trainer_arguments, **cell.trainer} for name in LENGTHS):
        yield (
            f"{type(model).__name__} does not say how long it is trained, and Lightning would take 1000 epochs. Set "
            "`trainer: {max_epochs: ...}`."
        )


def _idle_settings(cell: Cell) -> Iterator[str]:
    """Yield an error if settings of training are given for a method that is not trained."""
    given: dict[str, Any] = {"k_shot": cell.k_shot}
    if cell.training is None and not cell.trained_categories:
        given |= {"trainer": cell.trainer, "train_batch_size": cell.train_batch_size}
    idle = [f"`{name}`" for name, value in given.items() if value]
    if idle:
        yield f"it is not trained on the category's images. Take {' and '.join(idle)} out."


def _checkpoint_problems(model: Any, cell: Cell) -> Iterator[str]:
    """Yield an error unless a checkpoint or its training is given exactly for methods with trained layers."""
    needed = Kind.AUXILIARY in (own_kind(model) or Kind.INDUCTIVE)
    trained = cell.training is not None or bool(cell.trained_categories)
    if needed and not trained and (cell.checkpoint is None or not Path(cell.checkpoint).expanduser().is_file()):
        yield (
            "its layers are trained on other, labelled data. Name them under `train_on`, or under `checkpoint` the "
            f"file that `anomalib train` wrote; the checkpoint is {cell.checkpoint!r}."
        )
    if not needed and (trained or cell.checkpoint is not None):
        yield f"it has no trained layers. Take `{'train_on' if trained else 'checkpoint'}` out."
