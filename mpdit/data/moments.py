"""Count, mean and scatter of a stream of values, in float64, merged pairwise.

Two merges share one formula: per channel, for the statistics that whiten latents, and with the full scatter matrix, for
the Fréchet distance. Chan, Golub and LeVeque (1979): merging never subtracts large sums of squares, so the size and the
order of the parts change nothing but the last digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Moments of `count` samples of D variables. `+` merges disjoint sets; `-` removes a subset from its set."""

    count: int
    mean: NDArray[np.float64]  # (D,)
    scatter: NDArray[np.float64]  # (D,) sums of squared deviations from the mean, or (D, D) sum of (x - m)(x - m)^T

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        between = _between(self.scatter, delta, self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    def __sub__(self, subset: "Moments") -> "Moments":
        count = self.count - subset.count
        mean = self.mean + (self.mean - subset.mean) * (subset.count / count)
        between = _between(self.scatter, subset.mean - mean, count * subset.count / self.count)
        return Moments(count, mean, self.scatter - subset.scatter - between)

    @property
    def std(self) -> NDArray[np.float64]:
        """(D,) population standard deviation, of moments per channel."""
        return np.sqrt(self.scatter / self.count)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(D, D) unbiased covariance, of moments with a scatter matrix; `count` must be at least 2."""
        return self.scatter / (self.count - 1)


def _between(scatter: NDArray[np.float64], delta: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """What the distance `delta` of two sets' means adds to their scatter, in the form that `scatter` has.

    Stored statistics and scores hold the last bits of either form, so the products keep their order.
    """
    return delta**2 * weight if scatter.ndim == 1 else np.outer(delta, delta * weight)


def row_moments(rows: np.ndarray) -> Moments:
    """Moments with a scatter matrix of rows (N, D), N >= 1, of any float type."""
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    return Moments(len(rows), mean, rows.T @ rows)


def channel_moments(mean: np.ndarray, std: np.ndarray | None = None) -> Moments:
    """Moments per channel of arrays (B, C, H, W), N = B * H * W >= 1.

    Where there is a posterior each value is a normal distribution N(mean, std^2), and the moments are those of their
    mixture: its variance is the variance of the means plus the mean of the variances.
    """
    mean = mean.astype(np.float64)
    center = mean.mean(axis=(0, 2, 3))
    scatter = np.square(mean - center[:, None, None]).sum(axis=(0, 2, 3))
    if std is not None:
        scatter += np.square(std.astype(np.float64)).sum(axis=(0, 2, 3))
    return Moments(mean.size // mean.shape[1], center, scatter)
