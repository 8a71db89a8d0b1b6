"""One representative vector for all prompts of a state (CLIP-AD, arXiv 2311.00453, section 3.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.special import softmax
from sklearn.cluster import DBSCAN, MeanShift
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity
from torch import Tensor

from dualclip_lightning.utilities.arguments import check_choice, check_positive, check_whole

Representative = Literal["mean", "pca", "kde", "dbscan", "mean_shift"]

KDE_BANDWIDTH = 0.3
"""Bandwidth of the kernel density, as published."""
SHIFT_BANDWIDTH = 2.0
"""Bandwidth of mean shift, as published. Unit vectors are at most 2 apart, so there is one cluster: the mean."""

logger = logging.getLogger(__name__)


def representative_vector(
    embeddings: Tensor, kind: Representative = "dbscan", eps: float = 0.5, min_samples: int = 15
) -> Tensor:
    """Return the unit vector [D] that represents text embeddings [P, D], on the CPU in single precision.

    Args:
        embeddings: unit vectors [P, D].
        kind: "mean"; "pca", the embeddings' projection onto their first principal component over prompts, on the side
            of the mean; "kde", the mean weighted by a Gaussian kernel density; "dbscan" or "mean_shift", the mean of
            the largest cluster. If dbscan finds no cluster, the mean is used with a warning.
        eps: distance within which dbscan counts neighbours. CLIP-AD uses 0.5 for MVTec AD and 1.5 for VisA, where
            nearly all prompts are neighbours and the result is in effect the mean.
        min_samples: number of neighbours, including the point itself, of a core point of a cluster; CLIP-AD uses 15
            and 25.

    Raises:
        ValueError: the kind is unknown, a value is out of range, or the embeddings are not [P, D] with P > 0.
    """
    check_representative(kind, eps, min_samples)
    if embeddings.ndim != 2 or not len(embeddings):  # noqa: PLR2004
        msg = f"Expected embeddings of at least one prompt as [P, D], but got {tuple(embeddings.shape)}."
        raise ValueError(msg)
    select: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "mean": lambda x: x.mean(axis=0),
        "pca": _principal,
        "kde": _densest,
        "dbscan": lambda x: _largest_cluster(x, DBSCAN(eps=eps, min_samples=min_samples)),
        "mean_shift": lambda x: _largest_cluster(x, MeanShift(bandwidth=SHIFT_BANDWIDTH)),
    }
    chosen = select[kind](embeddings.detach().cpu().double().numpy())
    return F.normalize(torch.from_numpy(chosen), dim=0).float()


def check_representative(kind: str, eps: float, min_samples: int) -> None:
    """Check the arguments of `representative_vector`.

    Raises:
        ValueError: the kind is unknown, or a value is out of range.
    """
    check_choice("representative", kind, get_args(Representative))
    check_positive("eps", eps, "Vectors of length 1 are between 0 and 2 apart.")
    check_whole("min_samples", min_samples, 1)


def _principal(embeddings: np.ndarray) -> np.ndarray:
    """Compute the first principal component with dimensions as samples and prompts as features, as published."""
    if len(embeddings) == 1:
        return embeddings[0]
    coordinates = PCA(n_components=1, svd_solver="full").fit_transform(embeddings.T)[:, 0]
    return coordinates if coordinates @ embeddings.mean(axis=0) >= 0 else -coordinates


def _densest(embeddings: np.ndarray) -> np.ndarray:
    """Return the mean weighted by densities up to a common factor, which would overflow in hundreds of dimensions."""
    density = KernelDensity(kernel="gaussian", bandwidth=KDE_BANDWIDTH).fit(embeddings)
    return softmax(density.score_samples(embeddings)) @ embeddings


def _largest_cluster(embeddings: np.ndarray, clustering: DBSCAN | MeanShift) -> np.ndarray:
    labels = clustering.fit(embeddings).labels_
    counts = np.bincount(labels[labels >= 0])
    if not len(counts):
        logger.warning(
            "No cluster among %d prompts, so their mean stands for them. Set a larger eps or a smaller min_samples.",
            len(embeddings),
        )
        return embeddings.mean(axis=0)
    return embeddings[labels == counts.argmax()].mean(axis=0)
