"""The folder in which anomalib's Engine puts the files of a run, and the checkpoint from which commands continue."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib.models.components.base import AnomalibModule
from anomalib.utils.path import create_versioned_dir
from torch import nn

if TYPE_CHECKING:
    Base = AnomalibModule
else:
    Base = object

logger = logging.getLogger(__name__)
RECORD = "provenance.json"
"""Name of the file that marks the folder of a completed run."""
DESCRIBED = "described_class"
"""Key of a checkpoint with the name of the class in the prompts."""


class RunFolderMixin(Base):
    """Mixin before AnomalibModule: a run keeps the files of earlier runs, and saves a checkpoint without validation.

    The Engine starts with a validation if no checkpoint is given: `fit` consists of only that, and `train`, `test` and
    `predict` continue from it. Our validation has no batches, because it would use labels.
    """

    described_class: str | None
    described_before: str | None = None
    """Name of the class in the prompts according to a checkpoint."""
    set_class_name: Callable[[str], None]
    _chosen_words: Callable[[], str]
    _folder: Path | None = None
    """Folder for the results of this object."""

    def prepare_data(self) -> None:
        """Choose the folder for the files of the run, before anything is written there."""
        super().prepare_data()
        if self.trainer.is_global_zero:
            link_latest(Path(self.trainer.default_root_dir), self.name)
            if self.trainer.validating:
                self._folder = keep_earlier_results(self.trainer, self.name, self._folder)

    def setup(self, stage: str) -> None:
        """Broadcast the folder to all processes."""
        super().setup(stage)
        trainer: Any = self.trainer
        trainer._default_root_dir = trainer.strategy.broadcast(trainer.default_root_dir)  # noqa: SLF001 - as below

    def teardown(self, stage: str) -> None:
        """Save a checkpoint."""
        super().teardown(stage)
        if stage == "validate":
            leave_checkpoint(self.trainer, self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the name of the class in the prompts."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[DESCRIBED] = self.described_class

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the name of the class, unless an argument or the data of this run give another."""
        super().on_load_checkpoint(checkpoint)
        self.described_before = checkpoint.get(DESCRIBED)
        words = self._chosen_words()
        if self.described_class is not None and self.described_class != words:
            self.set_class_name(words)


def link_latest(root: Path, name: str) -> None:
    """Make the folder `latest` of anomalib's Engine a link to a new version, unless it is a link already.

    The Engine tests into `latest` without creating it; training replaces it by a link to a version and fails if it is a
    folder. The content of such a folder from an earlier test becomes the version. A system without links keeps a plain
    folder.

    Args:
        root: folder for the results of a run.
        name: name of the model in the Engine's path; other folders called latest are not changed.
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
    """Create a new version if the Engine would overwrite the results of another run, and return the run's folder.

    The Engine tests and predicts into the latest version, whatever its content.

    Args:
        trainer: trainer of the run.
        name: name of the model in the Engine's path; folders that are not the Engine's are not changed.
        own: folder that the same object used before, whose results it may overwrite.
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
    """Save a checkpoint after a skipped validation, because anomalib saves those of zero-shot models after validation.

    Nothing is saved outside a folder that the Engine created for the model, as when only `validate` is called.
    """
    if trainer.limit_val_batches != 0:
        return
    if method.name not in Path(trainer.default_root_dir).parts:
        logger.info("%s is not validated, because that would take thresholds from labels. Use test.", method.name)
        return
    for callback in trainer.checkpoint_callbacks:
        with _without_monitor(callback, method.name):
            callback.on_validation_end(trainer, method)


def drop_frozen_weights(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """State-dict hook that removes every parameter of `module` without gradient; the constructor loads these again."""
    del metadata
    for name, parameter in module.named_parameters(remove_duplicate=False):  # two encoders may share a tower
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


@contextlib.contextmanager
def _without_monitor(callback: Any, name: str) -> Iterator[None]:
    """Context in which a callback saves without the metric it monitors; otherwise it would silently save nothing."""
    monitor = getattr(callback, "monitor", None)
    if monitor is None:
        yield
        return
    logger.warning(
        "%s is not trained, so there is no %s to choose a checkpoint by. The only one is saved.", name, monitor
    )
    callback.monitor = None
    try:
        yield
    finally:
        callback.monitor = monitor
