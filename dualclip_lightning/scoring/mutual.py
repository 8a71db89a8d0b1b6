"""Mutual scores of the images of a set (MuSc, arXiv 2401.16753)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision
from dualclip_lightning.scoring.reference.neighbourhood import check_sides, neighbourhood_mean
from dualclip_lightning.utilities.arguments import check_share

CHUNK_PATCHES = 1024
"""Approximate number of patches that are compared with as many others at once."""
TABLE_NUMBERS = 2**27
"""Size of the table of nearest patches, 512 MB. Larger sets are scored in parts, which cannot exploit the symmetry."""


class _Tokens(NamedTuple):
    """One layer of n images, prepared for comparison."""

    values: Tensor
    """[n, h, w, C], each image with mean 0 and variance 1."""
    scales: Tensor
    """[R, n, P], the inverse length of every neighbourhood's mean, for each r."""

    def at(self, images: slice | Tensor) -> _Tokens:
        return _Tokens(self.values[images], self.scales[:, images])


def mutual_scores(
    layers: Sequence[Tensor],
    r: Sequence[int] = (1, 3, 5),
    lowest: float = 0.3,
    device: torch.device | str | None = None,
) -> Tensor:
    """Score every patch of every image by the other images: [N, h, w] distances in [0, 2].

    Tokens are averaged over r x r neighbourhoods and normalised (LNAMD, section 3.2). An image scores a patch by the
    Euclidean distance to its own nearest patch. The score of a patch is the mean of the lowest share of these
    distances over all other images, at least one (MSM, section 3.3), averaged over layers and over r. A single image
    gets zeros.

    Averaging and inner products commute: the inner products of all patches are computed once per layer and pair of
    images, and averaged over the neighbourhoods of both patches. Distances are computed from cosines in single
    precision, also under autocast; the error is 0.00001 near distance 0.1 and about 0.001 near 0.

    Memory: one layer in single precision (twice while it is prepared), a table of at most TABLE_NUMBERS nearest
    cosines (or that of one chunk), and a few times the inner products of one pair of chunks of CHUNK_PATCHES patches
    (or of one pair of images).

    Args:
        layers: each [N, h, w, C], of any precision, on any device, or mapped from a file.
        r: odd sides of the neighbourhoods in patches, padded with zeros at the border.
        lowest: share of the other images that is averaged, in [0, 1].
        device: device of the computation; None for that of the layers.

    Raises:
        ValueError: no layer, layers with different shapes, an even r, or a share outside [0, 1].

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import mutual_scores
        >>> images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).view(3, 1, 1, 2)  # one patch each
        >>> mutual_scores([images], r=[1], lowest=0.5).flatten().round()  # by the nearer of two others
        tensor([0., 0., 2.])
    """
    _check(layers, r, lowest)
    count, *grid = layers[0].shape[:-1]
    scores = torch.zeros(count, grid[0] * grid[1], device=layers[0].device if device is None else device)
    if count == 1:
        return scores.unflatten(1, grid)
    for layer in layers:
        tokens = _standardise(layer.to(scores.device, torch.float32), r)
        for rows in _chunks(range(count), _table_rows(count, len(r) * scores.shape[1], _chunk_images(tokens))):
            scores[rows] += _lowest_mean(_nearest(tokens, rows, r), count - 1, lowest)
    return (scores / len(layers)).unflatten(1, grid)


def paired_scores(
    layers: Sequence[Tensor], references: Tensor, r: Sequence[int] = (1, 3, 5), lowest: float = 0.3
) -> Tensor:
    """Score every patch as `mutual_scores` does, but only by the references of its image: [n, h, w] in [0, 2].

    Args:
        layers: as in `mutual_scores`.
        references: [n, K] indices of the images that score each of the first n images, n at most N, K at least 1.
        r: as in `mutual_scores`.
        lowest: share of the K references that is averaged, at least one of them.

    Raises:
        ValueError: as in `mutual_scores`, or references of another shape.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import paired_scores
        >>> images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).view(3, 1, 1, 2)  # one patch each
        >>> paired_scores([images], references=torch.tensor([[1], [2], [0]]), r=[1]).flatten().round()
        tensor([0., 2., 2.])
    """
    _check(layers, r, lowest)
    count, *grid = layers[0].shape[:-1]
    if references.ndim != 2 or len(references) > count or not references.numel():  # noqa: PLR2004
        msg = f"Expected `references` as [n, K] with n <= {count} and K >= 1, but got {tuple(references.shape)}."
        raise ValueError(msg)
    scores = layers[0].new_zeros(len(references), grid[0] * grid[1], dtype=torch.float32)
    for layer in layers:
        tokens = _standardise(layer.float(), r)
        for image, others in enumerate(references):
            pairs = _cosines(tokens.at(slice(image, image + 1)), tokens.at(others), r)
            nearest = torch.stack([cosines.amax(dim=3) for cosines in pairs])
            scores[image] += _lowest_mean(nearest, len(others), lowest)[0]
    return (scores / len(layers)).unflatten(1, grid)


def _check(layers: Sequence[Tensor], r: Sequence[int], lowest: float) -> None:
    shapes = [tuple(layer.shape) for layer in layers]
    if not shapes or any(len(shape) != 4 or shape[:3] != shapes[0][:3] or 0 in shape for shape in shapes):  # noqa: PLR2004
        msg = f"Expected at least one layer, each as [N, h, w, C] with the same N, h and w, but got {shapes}."
        raise ValueError(msg)
    check_degrees(r, lowest)


def check_degrees(r: Sequence[int], lowest: float) -> None:
    """Check the sides of neighbourhoods and the share.

    Raises:
        ValueError: no r, an r that is even or below 1, or a share outside [0, 1].
    """
    check_sides("r", r)
    check_share("lowest", lowest)


def _standardise(layer: Tensor, r: Sequence[int]) -> _Tokens:
    values = torch.empty_like(layer)
    scales = layer.new_empty(len(r), len(layer), layer.shape[1] * layer.shape[2])
    for images in _chunks(range(len(layer)), _chunk_images(layer)):
        values[images] = F.layer_norm(layer[images], layer.shape[1:])
        for number, side in enumerate(r):
            length = neighbourhood_mean(values[images], side).norm(dim=-1).flatten(1)
            scales[number, images] = length.clamp_min(torch.finfo(length.dtype).tiny).reciprocal()
    return _Tokens(values, scales)


def _nearest(tokens: _Tokens, rows: slice, r: Sequence[int]) -> Tensor:
    """Return the largest cosine to any patch of each other image [R, Q, P, N], for the Q images of `rows`."""
    count, patches = tokens.scales.shape[1:]
    table = tokens.values.new_empty(len(r), rows.stop - rows.start, patches, count)
    size = _chunk_images(tokens)
    for a in _chunks(range(rows.start, rows.stop), size):
        for b in _chunks(range(count), size):
            if rows.start <= b.start < a.start:  # already filled by symmetry, from b and a
                continue
            for number, cosines in enumerate(_cosines(tokens.at(a), tokens.at(b), r)):
                _put(table[number], a, rows, cosines.amax(dim=3), b)
                if a.start < b.start < rows.stop:
                    _put(table[number], b, rows, cosines.amax(dim=1).permute(1, 2, 0), a)
    own = torch.arange(rows.start, rows.stop, device=table.device)
    table[:, own - rows.start, :, own] = -torch.inf
    return table


def _put(table: Tensor, images: slice, rows: slice, nearest: Tensor, references: slice) -> None:
    table[images.start - rows.start : images.stop - rows.start, :, references] = nearest


def _cosines(queries: _Tokens, references: _Tokens, r: Sequence[int]) -> Iterator[Tensor]:
    """Yield, for each r, the cosines [a, P, b, P] of all neighbourhoods of a images with all of b images."""
    grid, patches = queries.values.shape[1:3], queries.scales.shape[-1]
    with single_precision(queries.values.device):
        products = references.values.flatten(0, 2) @ queries.values.flatten(0, 2).T
    for number, side in enumerate(r):
        over_references = neighbourhood_mean(products.view(-1, *grid, products.shape[1]), side).reshape(products.shape)
        # Pooling treats the last dimension as channels and is ten times slower if that is not contiguous.
        cosines = neighbourhood_mean(over_references.T.contiguous().view(-1, *grid, len(products)), side)
        cosines = cosines.reshape(-1, patches, len(references.values), patches) * references.scales[number]
        yield cosines.mul_(queries.scales[number, :, :, None, None])


def _lowest_mean(nearest: Tensor, others: int, lowest: float) -> Tensor:
    """Return the mean distance [Q, P] over the lowest share of `others` images, at least one, and over r."""
    share = max(1, int(others * lowest))
    closest = (cosines.topk(share, dim=-1).values for cosines in nearest)
    return torch.stack([(2 - 2 * c).clamp_min(0).sqrt().mean(dim=-1) for c in closest]).mean(dim=0)


def _chunk_images(tokens: _Tokens | Tensor) -> int:
    values = tokens if isinstance(tokens, Tensor) else tokens.values
    return max(1, CHUNK_PATCHES // (values.shape[1] * values.shape[2]))


def _table_rows(count: int, numbers: int, chunk: int) -> int:
    """Return the number of images whose rows of the table are in memory at once, a multiple of the chunk."""
    return max(chunk, TABLE_NUMBERS // (count * numbers) // chunk * chunk)


def _chunks(images: range, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, images.stop)) for start in images[::size])
