"""Distances between features: the Fréchet distance (FID) and the kernel distance (KID)."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALL_PAIRS = 1e12  # multiplications, (N + M)^2 D, up to which KID is over all pairs: under a minute on two cores
BLOCK = 1024  # rows of a kernel matrix at a time
KID_SUBSETS = 50
KID_SUBSET_SIZE = 1000


def frechet_distance(
    mean_1: NDArray[np.float64],
    cov_1: NDArray[np.float64],
    mean_2: NDArray[np.float64],
    cov_2: NDArray[np.float64],
) -> float:
    """Fréchet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al., arXiv 1706.08500).

    Means (D,) and covariances (D, D) are float64; covariances may be singular. With C1 = S S', the trace of the root is
    computed from the eigenvalues of the symmetric S' C2 S, which are those of C1 C2.
    """
    first, second = (torch.from_numpy(np.ascontiguousarray(covariance)) for covariance in (cov_1, cov_2))
    variances, directions = torch.linalg.eigh(first)
    root = directions * variances.clamp(min=0).sqrt()
    trace_of_root = torch.linalg.eigvalsh(root.T @ second @ root).clamp(min=0).sqrt().sum()
    difference = mean_1 - mean_2
    return float(difference @ difference + np.trace(cov_1) + np.trace(cov_2) - 2 * float(trace_of_root))


class KernelDistance(NamedTuple):
    """An estimate of the squared MMD."""

    value: float
    error: float | None  # its standard error over the first set's samples; None where it is not computed


def kernel_distance(
    features_1: NDArray[np.float32], features_2: NDArray[np.float32], seed: int, mean_kernel_2: float | None = None
) -> KernelDistance:
    """The unbiased squared MMD with kernel (x.y / D + 1)^3: KID (Bińkowski et al., arXiv 1801.01401).

    Features are (N, D) and (M, D) float32, at least 2 rows each. It is over all pairs of rows (Gretton et al., 2012,
    eq. 3), in float64, up to (N + M)^2 D = ALL_PAIRS. Beyond that it is torch-fidelity's mean over 50 pairs of random
    subsets of 1,000 rows, drawn by `seed`, whose expectation is the value over all pairs; it then has no error.

    `mean_kernel_2` is `mean_kernel(features_2)`, where it is known: most of the work, where the second set is large.

    The error is the jackknife's over the rows of `features_1`: how much other samples of the same model would move the
    value, the other set being given. It is a little too large where the two distributions are nearly the same.
    """
    (n, dimension), m = features_1.shape, len(features_2)
    if over_all_pairs(n, m, dimension):
        others = mean_kernel(features_2) if mean_kernel_2 is None else mean_kernel_2
        return _over_all_pairs(torch.from_numpy(features_1).double(), torch.from_numpy(features_2).double(), others)
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric  # slow to import

    metric = kid_features_to_metric(
        torch.from_numpy(features_1),
        torch.from_numpy(features_2),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, n, m),
        rng_seed=seed,
        verbose=False,
    )
    return KernelDistance(metric[KEY_METRIC_KID_MEAN], None)


def over_all_pairs(n: int, m: int, dimension: int) -> bool:
    """Whether the kernel distance of sets of N and M features is over all pairs of rows."""
    return (n + m) ** 2 * dimension <= ALL_PAIRS


def mean_kernel(features: NDArray[np.float32]) -> float:
    """The mean kernel of two different rows of (M, D) float32 features, M >= 2, in float64."""
    y, total = torch.from_numpy(features).double(), 0.0
    for start in range(0, len(y), BLOCK):  # the kernel is symmetric: each block of rows with itself and those after it
        rows, after = y[start : start + BLOCK], y[start + BLOCK :]
        total += float((_kernel_sums(rows, rows) - _kernel(rows, rows)).sum())
        if len(after):
            total += 2 * float(_kernel_sums(rows, after).sum())
    return total / (len(y) * (len(y) - 1))


def _over_all_pairs(x: Tensor, y: Tensor, mean_kernel_of_y: float) -> KernelDistance:
    n, m = len(x), len(y)
    own = _kernel_sums(x, x) - _kernel(x, x)  # (N,) of each row with all others
    cross = _kernel_sums(x, y)  # (N,)
    value = float(own.sum()) / (n * (n - 1)) - 2 * float(cross.sum()) / (n * m) + mean_kernel_of_y
    if n < 3:
        return KernelDistance(value, None)
    without = (own.sum() - 2 * own) / ((n - 1) * (n - 2)) - 2 * (cross.sum() - cross) / (
        (n - 1) * m
    )  # each row in turn
    return KernelDistance(value, math.sqrt((n - 1) * float(without.var(correction=0))))


def _kernel_sums(x: Tensor, y: Tensor) -> Tensor:
    """(N,) the sum over all rows of `y` of the kernel with each row of `x`, without holding N x M values."""
    return torch.cat([(rows @ y.T).div_(y.shape[1]).add_(1).pow_(3).sum(1) for rows in x.split(BLOCK)])


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """(N,) the kernel of the rows of `x` with those of `y`, one to one."""
    return ((x * y).sum(1) / y.shape[1] + 1) ** 3
