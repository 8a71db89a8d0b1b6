"""The method under test: it is built as often as the checks need, and run on small images."""

from __future__ import annotations

import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from inspect import Parameter, isclass, signature
from pathlib import Path
from typing import Any, NamedTuple
from unittest import SkipTest

import numpy as np
import torch
from anomalib import LearningType
from anomalib.data import MVTecAD
from anomalib.models.components.base import AnomalibModule
from anomalib.post_processing import PostProcessor
from torch import Tensor

from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.base.arguments import constructor_signature
from dualclip_lightning.testing.runs import Record, new_engine, run_engine
from dualclip_lightning.testing.samples import TWO_SIZES, write_mvtec
from dualclip_lightning.testing.tiny_clip import save_folder, tiny_clip

CATEGORY, COUNT = "metal_nut", 9
"""Category of the test images, and their number."""
CLASS = "screw"
"""Class name in all prompts, so that runs with and without a category are comparable."""
OTHERS = Kind.PAIR | Kind.TRANSDUCTIVE
"""Kinds whose scores depend on other images of the run."""
NOT_OURS = "The method does not derive from ZeroShotShell."


class Twin(NamedTuple):
    """A second object with the same arguments, after a test like that of the first."""

    method: Any
    weights: dict[str, Tensor]
    """Copies of the weights before the test."""
    record: Record


class Subject:
    """A method under test.

    Args:
        make: class of the method, or a function that returns a new method.
        arguments: arguments of every call.
    """

    def __init__(self, make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._make = make
        self._arguments = dict(arguments)
        # `inspect` does not follow **arguments into the base classes of a class that is not ours.
        self._parameters = (constructor_signature(make) if isclass(make) else signature(make)).parameters

    def accepts(self, argument: str) -> bool:
        """Return whether the class or function takes an argument; a function with `**arguments` takes all."""
        kinds = {parameter.kind for parameter in self._parameters.values()}
        return argument in self._parameters or Parameter.VAR_KEYWORD in kinds

    @property
    def name(self) -> str:
        """Name of the class or function."""
        return getattr(self._make, "__name__", type(self._make).__name__)

    @cached_property
    def method_class(self) -> Any:
        """Class of the method."""
        return self._make if isclass(self._make) else type(self.build())

    @property
    def ours(self) -> bool:
        """True if the method derives from `ZeroShotShell`."""
        return issubclass(self.method_class, ZeroShotShell)

    def require_ours(self) -> None:
        """Skip a check that applies only to methods that derive from `ZeroShotShell`."""
        if not self.ours:
            raise SkipTest(NOT_OURS)

    def build(self, **changes: Any) -> Any:
        """Build the method with its arguments and some changes.

        It draws no pictures and computes no metrics, and a method that is not ours leaves its scores unnormalised:
        anomalib would take their range and threshold from labels.
        """
        return self.prepared(self._make(**self._defaults | self._arguments | changes))

    def prepared(self, method: Any) -> Any:
        """Remove the parts of a method that draw, read labels or depend on them."""
        if not isinstance(method, AnomalibModule):
            msg = f"Expected a class or function that gives an AnomalibModule, but got {type(method).__name__}."
            raise TypeError(msg)
        method.evaluator = method.visualizer = None
        if not isinstance(method, ZeroShotShell):
            method.post_processor = PostProcessor(enable_normalization=False, enable_thresholding=False)
            # The Engine validates zero-shot methods before they predict, even without labelled images. `list` does not
            # do, because Lightning reads the code of the function.
            method.val_dataloader = lambda: []  # type: ignore[method-assign]  # noqa: PIE807
        elif method.class_name is None:
            method.class_name = CLASS
        return method

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return ({"class_name": CLASS} if self.accepts("class_name") else {}) | self._weights

    @property
    def _weights(self) -> dict[str, str]:
        """The tiny CLIP, for a method that is ours and has no other weights."""
        own = str(getattr(self._parameters.get("backbone"), "default", "")).startswith("timm:")
        takes = issubclass(self._make, ZeroShotShell) if isclass(self._make) else self.accepts("pretrained")
        chosen = own or bool({"pretrained", "backbone"} & self._arguments.keys())
        return {"pretrained": str(tiny_weights())} if takes and not chosen else {}

    def make(self, **changes: Any) -> Any:
        """Build the method, and train it if it is not ours and learns from normal images.

        A method that is not ours has no seed of its own, so the global generators start anew.
        """
        if not self.ours:
            seed_globally(0)
        method = self.build(**changes)
        if not self.ours and method.learning_type is not LearningType.ZERO_SHOT:
            new_engine(self.folder, max_epochs=1).fit(method, datamodule=self.data())
        return method

    def run(self, method: Any, stage: str = "test", **data: Any) -> Record:
        """Run `test` or `predict`; a test without data is one of all images, in one batch."""
        return run_engine(self.folder, method, stage, **data or {"datamodule": self.data()})

    def data(self, **arguments: Any) -> MVTecAD:
        """Return a datamodule with 4 normal and 5 anomalous test images, by default in one batch.

        Their sizes differ only for methods that are ours: anomalib's collation changes the sizes within a batch.
        """
        chosen = {"eval_batch_size": COUNT, "train_batch_size": 2, "num_workers": 0} | arguments
        return MVTecAD(root=self.root, category=CATEGORY, **chosen)

    @property
    def root(self) -> Path:
        """Folder of the data."""
        return images("two sizes" if self.ours else "one size")

    @property
    def test_folder(self) -> Path:
        """Folder with all test images."""
        return self.root / CATEGORY / "test"

    @cached_property
    def _first(self) -> tuple[Any, Record]:
        seed_globally(0)
        method = self.make()
        # no other run may write into the folder of this one
        return method, run_engine(self.folder / "first", method, datamodule=self.data())

    @cached_property
    def twin(self) -> Twin:
        """A second object after a test; checks may run it again. The global generators were in another state."""
        seed_globally(1)
        method = self.make()
        before = {name: value.clone() for name, value in weights(method).items()}
        return Twin(method, before, self.run(method))

    @property
    def used(self) -> Any:
        """A method after a test, with everything that a run prepares; checks must not change it."""
        return self._first[0].eval()

    @property
    def expected(self) -> Record:
        """Scores and maps of the test images in one batch."""
        return self._first[1]

    @property
    def kind(self) -> Kind:
        """Kind of the method; inductive if it declares none."""
        kind = getattr(self.used, "kind", None)
        return kind if isinstance(kind, Kind) else Kind.INDUCTIVE

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch of the backbone."""
        height, width = self.used.backbone.visual.patch_size
        return height, width

    def inputs(self, count: int, height: int | None = None, width: int | None = None) -> Tensor:
        """Return random images [count, 3, H, W] in the format of the model's input, by default of the method's size."""
        size = self.used.backbone.preprocessing.at_size(self.used.hparams["image_size"]).size
        shape = count, 3, height or size[0], width or size[1]
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))

    @cached_property
    def folder(self) -> Path:
        """Folder for the results of runs, removed with this object."""
        path = tempfile.mkdtemp(prefix="check-method-")
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return Path(path)


def seed_globally(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what the libraries of a method may use
    torch.manual_seed(seed)


def weights(method: Any) -> dict[str, Tensor]:
    """Return the parameters and saved buffers of a method that a test must not change."""
    parts = [method.model] + ([method.backbone.clip] if hasattr(method, "backbone") else [])
    return {f"{place}: {name}": value for place, part in enumerate(parts)
            for name, value in (*part.state_dict().items(), *part.named_parameters())}  # fmt: skip


@cache
def tiny_weights() -> Path:
    """Return the folder of a tiny CLIP with random weights, which exists until the program ends."""
    folder = _temporary_folder()
    save_folder(tiny_clip(), folder)
    return folder


@cache
def images(sizes: str) -> Path:
    """Return the root of a data set of "one size" or "two sizes", which exists until the program ends."""
    root = _temporary_folder()
    write_mvtec(root, CATEGORY, sizes=((64, 64),) if sizes == "one size" else TWO_SIZES)
    return root


def _temporary_folder() -> Path:
    kept = tempfile.TemporaryDirectory(prefix="check-method-")
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: list[tempfile.TemporaryDirectory] = []
