"""Storage for the features of many images, in memory or in mapped files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

IN_MEMORY_BYTES = 2**31
"""Features beyond 2 GB are stored in a temporary folder."""


class FeatureStore:
    """Tensors that are filled together, row by row, to a known length: [count, ...] in single precision on the host.

    Beyond `limit` bytes they are mapped from files in a temporary folder (set by TMPDIR) until `close`, so that the
    operating system keeps as much in memory as fits.

    Args:
        count: number of rows of every tensor.
        limit: largest number of bytes of all tensors together in memory.

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
            OSError: the rows exceed `limit`, and the temporary folder does not have enough space.
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
        if free < size:  # writing to a mapped file on a full disk would kill the process
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
        """Release the tensors and delete the folder."""
        self.tensors = []
        if self.folder is not None:
            self.folder.cleanup()
