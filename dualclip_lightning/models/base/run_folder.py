"""Where anomalib's Engine puts what a run leaves, and the checkpoint from which its commands go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib.models.components.base import AnomalibModule
from anomalib.utils.path import create_versioned_dir

if TYPE_CHECKING:
    Base = AnomalibModule
else:
    Base = object

RECORD = "provenance.json"
"""Stands in the folder of a run that has ended."""
DESCRIBED = "described_class"
"""Where a checkpoint says what the prompts called the class."""


class RunFolderMixin(Base):
    """Mixin before AnomalibModule: a run keeps what others left, and leaves a checkpoint though nothing is validated.

    The Engine begins with a validation wherever it is given no checkpoint: it is all of `fit`, and `train`, `test` and
    `predict` go on from there. Ours has no batches, because labels would decide in it.
    """

    described_class: str | None
    described_before: str | None = None
    """What a checkpoint says that the prompts called the class."""
    set_class_name: Callable[[str], None]
    _chosen_words: Callable[[], str]
    _folder: Path | None = None
    """Where the results of this object go."""

    def prepare_data(self) -> None:
        """Find a folder for what the run leaves, before anything is written there."""
        super().prepare_data()
        if self.trainer.is_global_zero:
            link_latest(Path(self.trainer.default_root_dir), self.name)
            if self.trainer.validating:
                self._folder = keep_earlier_results(self.trainer, self.name, self._folder)

    def setup(self, stage: str) -> None:
        """Tell all processes the folder."""
        super().setup(stage)
        trainer: Any = self.trainer
        trainer._default_root_dir = trainer.strategy.broadcast(trainer.default_root_dir)  # noqa: SLF001 - as below

    def teardown(self, stage: str) -> None:
        """Leave a checkpoint."""
        super().teardown(stage)
        if stage == "validate":
            leave_checkpoint(self.trainer, self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the prompts call the class."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[DESCRIBED] = self.described_class

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Call the class as before, unless an argument or the data of this run say otherwise."""
        super().on_load_checkpoint(checkpoint)
        self.described_before = checkpoint.get(DESCRIBED)
        words = self._chosen_words()
        if self.described_class is not None and self.described_class != words:
            self.set_class_name(words)


def link_latest(root: Path, name: str) -> None:
    """Make the folder `latest` of anomalib's Engine a link to a new version, where it is none yet.

    The Engine tests into `latest` without making it; training replaces it by a link to a version and fails if it is a
    folder. What an earlier test left in such a folder becomes the version. A system without links keeps a plain folder.

    Args:
        root: where the results of a run go.
        name: of the model, as the Engine has it in the path; other folders called latest are left alone.
    """
    if root.name != "latest" or name not in root.parts or root.is_symlink():
        return
    with contextlib.suppress(OSError):
        before = root.rename(root.with_name("latest.before")) if root.is_dir() else None
        version = create_versioned_dir(root.parent)
        if before is not None:
            version.rmdir()
            before.rename(version)


def keep_earlier_results(trainer: Any, name: str, own: Path | None) -> Path:
    """Give a run a new version where the Engine would write over what another run left, and return its folder.

    The Engine tests and predicts into the latest version, whatever is there.

    Args:
        trainer: of the run.
        name: of the model, as the Engine has it in the path; folders that are not the Engine's are left alone.
        own: the folder that the same object used before; its results it may write over.
    """
    folder = Path(trainer.default_root_dir).resolve()
    if folder == own or name not in folder.parts or not (folder / RECORD).is_file():
        return folder
    version = create_versioned_dir(folder.parent)
    trainer._default_root_dir = str(version)  # noqa: SLF001 - Lightning has no other way
    for callback in trainer.checkpoint_callbacks:
        if callback.dirpath is not None and Path(callback.dirpath).is_relative_to(folder):
            callback.dirpath = str(version / Path(callback.dirpath).relative_to(folder))
    return version


def leave_checkpoint(trainer: Any, method: Any) -> None:
    """Save a checkpoint after a validation that was left out; anomalib saves those of zero-shot models after one.

    A validation outside a folder that the Engine made for the model leaves nothing.
    """
    if method.name in Path(trainer.default_root_dir).parts and trainer.limit_val_batches == 0:
        for callback in trainer.checkpoint_callbacks:
            callback.on_validation_end(trainer, method)
