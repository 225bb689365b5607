"""Features projected on principal components of a reference, so that few samples suffice for a Fréchet distance."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.moments import Moments


@dataclass(frozen=True)
class Projection:
    """The projection of D features on K components. Distances do not depend on the signs or order of components."""

    center: NDArray[np.float64]  # (D,) the reference's mean
    components: NDArray[np.float64]  # (D, K) orthonormal columns, the largest variance first

    def rows(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (N, D) -> (N, K), computed in float64."""
        return ((features - self.center) @ self.components).astype(np.float32)

    def kernel_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Projected features (N, K), scaled so that the kernel of KID divides their dot products by D, not by K.

        Few components hold most of the variance: divided by K, dot products are large, and so are their cubes.
        """
        features, components = self.components.shape
        return (rows * np.sqrt(components / features)).astype(np.float32)

    def moments(self, moments: Moments) -> Moments:
        """The moments of projected features from those of the features themselves."""
        scatter = self.components.T @ moments.scatter @ self.components
        return Moments(moments.count, (moments.mean - self.center) @ self.components, scatter)


def principal_components(mean: NDArray[np.float64], covariance: NDArray[np.float64], number: int) -> Projection:
    """The projection on the `number` directions of the largest variance, given the mean (D,) and covariance (D, D)."""
    _, vectors = np.linalg.eigh(covariance)  # variances ascend
    return Projection(mean, vectors[:, : -number - 1 : -1])


def projected_hash(features_hash: str, reference_hash: str, components: int) -> str:
    """16 hex digits that stand for projected features: those of the network, the real images, the number of components.

    The components themselves are left out because their last digits differ between machines.
    """
    return hashlib.sha256(f"{features_hash} {components} components of {reference_hash}".encode()).hexdigest()[:16]
