"""Export of methods whose score depends only on the image; other methods refuse with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib.models.components.base import AnomalibModule

from dualclip_lightning.models.base.kind import Kind
from dualclip_lightning.utilities.extras import FOR_ONNX, OPENVINO, OPSET, require_export
from dualclip_lightning.utilities.memory import rare_collections

if TYPE_CHECKING:
    from dualclip_lightning.backbone import Backbone

    Base = AnomalibModule
else:
    Base = object

OTHER_IMAGES = "an image's score depends on other images"
REASONS = {
    Kind.PAIR: OTHER_IMAGES,
    Kind.TRANSDUCTIVE: OTHER_IMAGES,
    Kind.FEW_SHOT: "it compares with images it reads at a run",
}
"""Reasons why a kind of method is not a function of a single image."""


class ExportMixin(Base):
    """Mixin before AnomalibModule for `anomalib export` and `Engine.export`.

    An exported model contains the text anchors of one class and takes batches of images of the method's input size.
    """

    kind: Kind
    backbone: Backbone
    described_class: str | None
    set_class_name: Callable[[str], None]
    _chosen_words: Callable[[], str]

    def to_torch(self, export_root: Path | str, model_file_name: str = "model") -> Path:
        """Export as anomalib does; the file is a pickle, so load it only from a trusted source.

        Raises:
            ValueError: the method cannot be exported.
        """
        self._prepare_export()
        return super().to_torch(export_root, model_file_name)

    def to_onnx(self, export_root: Path | str, model_file_name: str = "model",  # type: ignore[override]
                input_size: tuple[int, int] | None = None, **kwargs: Any) -> Path:  # fmt: skip
        """Export as anomalib does; `input_size` (height, width) may only be the method's own size, the default.

        Raises:
            ImportError: a package for the export is missing.
            ValueError: the method cannot be exported.
        """
        self._prepare_export()
        require_export(*FOR_ONNX)
        kwargs.setdefault("opset_version", OPSET)
        with rare_collections():
            return super().to_onnx(export_root, model_file_name, input_size or self._own_size(), **kwargs)

    def to_openvino(self, export_root: Path | str, model_file_name: str = "model",  # type: ignore[override]
                    input_size: tuple[int, int] | None = None, **kwargs: Any) -> Path:  # fmt: skip
        """Export as `to_onnx` does; this also needs OpenVINO.

        Raises:
            ImportError: as in `to_onnx`.
            ValueError: as in `to_onnx`.
        """
        self._prepare_export()
        require_export(*FOR_ONNX, OPENVINO)
        return super().to_openvino(export_root, model_file_name, input_size or self._own_size(), **kwargs)

    def unexportable(self) -> str | None:
        """Return why this method cannot be exported with its settings, with a remedy; None if it can."""
        return next((reason for kind, reason in REASONS.items() if kind in self.kind), None)

    def _prepare_export(self) -> None:
        reason = self.unexportable()
        if reason is not None:
            msg = f"{type(self).__name__} cannot be exported with these settings: {reason}."
            raise ValueError(msg)
        if self.described_class is None:
            self.set_class_name(self._chosen_words())

    def _own_size(self) -> tuple[int, int]:
        return self.backbone.preprocessing.at_size(self.hparams["image_size"]).size
