"""Features of many images, in memory as long as they are few."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

IN_MEMORY_BYTES = 2**31
"""Features beyond 2 GB lie in a temporary folder."""


class FeatureStore:
    """Tensors that grow together, row by row, to a length known before: [count, ...] in single precision on the host.

    Beyond `limit` bytes they are mapped from files of a temporary folder (which TMPDIR chooses), so that the operating
    system keeps in memory what fits, until `close`.

    Args:
        count: rows of every tensor.
        limit: bytes of all tensors together that may lie in memory.

    Example:
        >>> import torch
        >>> from dualclip_lightning.pairing import FeatureStore
        >>> store = FeatureStore(count=3)
        >>> store.append([torch.zeros(2, 5)])
        >>> store.append([torch.ones(1, 5)])
        >>> store.tensors[0].sum(dim=1)
        tensor([0., 0., 5.])
        >>> store.close()
    """

    def __init__(self, count: int, limit: int = IN_MEMORY_BYTES) -> None:
        self.count = count
        self.limit = limit
        self.tensors: list[Tensor] = []
        self.folder: TemporaryDirectory | None = None
        self._filled = 0

    def append(self, parts: Sequence[Tensor]) -> None:
        """Add the next rows [n, ...] of every tensor.

        Raises:
            OSError: neither memory, by `limit`, nor the temporary folder has room for all rows.
        """
        if not self.tensors:
            self.tensors = self._allocate([(self.count, *part.shape[1:]) for part in parts])
        rows = slice(self._filled, self._filled + len(parts[0]))
        for tensor, part in zip(self.tensors, parts, strict=True):
            tensor[rows] = part
        self._filled = rows.stop

    def _allocate(self, shapes: Sequence[torch.Size | tuple[int, ...]]) -> list[Tensor]:
        sizes = [torch.Size(shape).numel() for shape in shapes]
        size = 4 * sum(sizes)
        if size <= self.limit:
            return [torch.empty(shape, dtype=torch.float32) for shape in shapes]
        self.folder = TemporaryDirectory(ignore_cleanup_errors=True)
        free = shutil.disk_usage(self.folder.name).free
        if free < size:  # a mapped file on a full disk would end the process without a word
            msg = (
                f"The features of {self.count} images need {size / 2**30:.1f} GB, but the temporary folder has "
                f"{free / 2**30:.1f} GB. Set TMPDIR to a folder with more, or score fewer images at once (subsets)."
            )
            raise OSError(msg)
        files = [str(Path(self.folder.name) / str(number)) for number in range(len(shapes))]
        mapped = (
            torch.from_file(f, shared=True, size=n, dtype=torch.float32) for f, n in zip(files, sizes, strict=True)
        )
        return [tensor.view(shape) for tensor, shape in zip(mapped, shapes, strict=True)]

    def close(self) -> None:
        """Forget the tensors and delete the folder."""
        self.tensors = []
        if self.folder is not None:
            self.folder.cleanup()
