"""Export of methods whose score depends on the image alone; the others say why they cannot be exported."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib.models.components.base import AnomalibModule

if TYPE_CHECKING:
    from dualclip_lightning.backbone import Backbone

    Base = AnomalibModule
else:
    Base = object

OTHER_IMAGES = "an image's score depends on other images"
REASONS = {"pair": OTHER_IMAGES, "transductive": OTHER_IMAGES, "few-shot": "it compares with images it reads at a run"}
"""Why a kind of method cannot be one function of one image."""
EXTRA = "dualclip_lightning[export]"
OPSET = 18
"""The one that torch's exporter speaks; to anomalib's 14 it fails to convert."""


FOR_ONNX = ("onnx", "onnxscript")
"""Packages that torch's exporter imports."""


def require(*packages: str) -> None:
    """Refuse to go on without packages.

    Raises:
        ImportError: some are missing, with the command that installs them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        wanted = [f'"{EXTRA}"', *(name for name in missing if name not in FOR_ONNX)]
        msg = f"This export needs {' and '.join(missing)}. Run `pip install {' '.join(wanted)}`."
        raise ImportError(msg)


class ExportMixin(Base):
    """Mixin before AnomalibModule: `anomalib export` and its Python form.

    An exported model has the text anchors of one class in it and takes any number of images of the method's own size.
    """

    kind: Any
    backbone: Backbone
    described_class: str | None
    class_name: str | None
    set_class_name: Callable[[str], None]

    def to_torch(self, export_root: Path | str, model_file_name: str = "model") -> Path:
        """As anomalib; the file is a pickle, to be loaded from those one trusts alone.

        Raises:
            ValueError: a method that cannot be exported.
        """
        self._prepare_export()
        return super().to_torch(export_root, model_file_name)

    def to_onnx(self, export_root: Path | str, model_file_name: str = "model",  # type: ignore[override]
                input_size: tuple[int, int] | None = None, **kwargs: Any) -> Path:  # fmt: skip
        """As anomalib; without `input_size` (height, width) at the method's own, which may also be set there.

        Raises:
            ImportError: a package that the export needs is missing.
            ValueError: a method that cannot be exported.
        """
        self._prepare_export()
        require(*FOR_ONNX)
        kwargs.setdefault("opset_version", OPSET)
        return super().to_onnx(export_root, model_file_name, input_size or self._own_size(), **kwargs)

    def to_openvino(self, export_root: Path | str, model_file_name: str = "model",  # type: ignore[override]
                    input_size: tuple[int, int] | None = None, **kwargs: Any) -> Path:  # fmt: skip
        """As `to_onnx`, for which OpenVINO is needed too.

        Raises:
            ImportError: as `to_onnx`.
            ValueError: as `to_onnx`.
        """
        self._prepare_export()
        require(*FOR_ONNX, "openvino")
        return super().to_openvino(export_root, model_file_name, input_size or self._own_size(), **kwargs)

    def _unexportable(self) -> str | None:
        """Why this method cannot be exported as it is set, and what to set instead; None if it can."""
        return next((REASONS[part] for part in self.kind.split(", ") if part in REASONS), None)

    def _prepare_export(self) -> None:
        reason = self._unexportable()
        if reason is not None:
            msg = f"{type(self).__name__} cannot be exported as it is set: {reason}."
            raise ValueError(msg)
        if self.described_class is None:
            self.set_class_name(self.class_name or "object")

    def _own_size(self) -> tuple[int, int]:
        return self.backbone.preprocessing.at_size(self.hparams["image_size"]).size
