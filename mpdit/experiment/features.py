"""Features whose distances are compared, and which distance decides between two sets of them."""

from dataclasses import dataclass
from typing import Literal

SAMPLES_PER_DIMENSION = 5  # of a Fréchet distance that decides
FID_10K = 10_000  # samples: with so many, FIDs are published as they are


@dataclass(frozen=True)
class Features:
    """A kind of features."""

    label: str  # in headings of tables and figures
    dimension: int
    network: str  # which computes them, or what they are a projection of
    components: int | None = None  # number of principal components of the reference that they are projected on


# By the names that `scoring.features` gives them. A Fréchet distance is called FID only where the network is Inception.
FEATURES = {
    "inception": Features("Inception", 2048, "inception"),
    "efficientnet-lite0": Features("EfficientNet-Lite0", 1280, "efficientnet-lite0"),
    "efficientnet-lite0-pca64": Features("EfficientNet-Lite0, 64 components", 64, "efficientnet-lite0", 64),
}


def deciding_metric(count: int, dimension: int) -> Literal["fid", "kid"]:
    """The column of fid.csv that decides, for so many samples (the smaller of both sets) of features.

    With few samples a Fréchet distance is biased upward, by an amount that depends on the model, so that it may rank
    models wrongly; the kernel distance is not. `fid` decides from 5 times as many samples as dimensions on, and from
    10,000 in any case: FID-10K is what is published, at 4.9 times Inception's 2,048 dimensions.
    """
    enough = count >= min(SAMPLES_PER_DIMENSION * dimension, FID_10K) and count > dimension
    return "fid" if enough else "kid"
