"""Distances between features: the Fréchet distance (FID) and the kernel distance (KID), both of torch-fidelity."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

KID_SUBSETS = 50
KID_SUBSET_SIZE = 1000


def frechet_distance(
    mean_1: NDArray[np.float64],
    cov_1: NDArray[np.float64],
    mean_2: NDArray[np.float64],
    cov_2: NDArray[np.float64],
) -> float:
    """Fréchet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al., arXiv 1706.08500).

    Means (D,) and covariances (D, D) are float64; covariances may be singular. The trace of the root is computed from
    the eigenvalues of the product.
    """
    statistics = {"mu": mean_1, "sigma": cov_1}, {"mu": mean_2, "sigma": cov_2}
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def kernel_distance(features_1: NDArray[np.float32], features_2: NDArray[np.float32], seed: int) -> tuple[float, float]:
    """Mean and standard deviation of the unbiased squared MMD with kernel (x.y / D + 1)^3.

    This is KID (Bińkowski et al., arXiv 1801.01401). Features are (N, D) and (M, D) float32, at least 2 rows each. The
    mean is over 50 pairs of random subsets of 1,000 rows, or of as many rows as the smaller set has. The standard
    deviation is over subsets: it shows how much the choice of subsets moves the value, not how much new samples would.
    """
    metric = kid_features_to_metric(
        torch.from_numpy(features_1),
        torch.from_numpy(features_2),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(features_1), len(features_2)),
        rng_seed=seed,
        verbose=False,
    )
    return metric[KEY_METRIC_KID_MEAN], metric[KEY_METRIC_KID_STD]
