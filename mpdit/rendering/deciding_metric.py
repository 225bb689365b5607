"""Which of two metrics decides: the Fréchet distance, or the kernel distance where samples are too few for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..experiment import features
from ..experiment.metric_names import metric_label, metric_name

if TYPE_CHECKING:
    import pandas as pd

TOO_FEW_SAMPLES = "fewer than five samples per feature"  # in words, for `has_too_few_samples`


@dataclass(frozen=True)
class ScoreMetric:
    """A metric of fid.csv."""

    column: Literal["fid", "kid"]
    features: str

    @property
    def label(self) -> str:
        """`FID`, `KID`, or with the network in parentheses, `FD (EfficientNet-Lite0)`."""
        return metric_label(self.features, self.column)

    @property
    def name(self) -> str:
        """`FID`, `KID`, `FD` or `KD`."""
        return metric_name(self.features, self.column)

    @property
    def is_kernel_distance(self) -> bool:
        return self.column == "kid"


def has_too_few_samples(scores: pd.DataFrame) -> bool:
    """Whether any of these rows of fid.csv has too few samples, or real images, for its Fréchet distance to decide."""
    smaller = scores[["count", "reference_count"]].min(axis="columns")
    pairs = zip(smaller, scores["features"], strict=True)
    return any(features.deciding_metric(count, features.FEATURES[name].dimension) == "kid" for count, name in pairs)


def deciding_metric(scores: pd.DataFrame) -> ScoreMetric:
    """The metric to judge these rows of fid.csv by, all on the same features.

    It is the kernel distance where there are too few samples for the Fréchet distance (`features.deciding_metric`) and
    there is a kernel distance at all, and the Fréchet distance otherwise.
    """
    kernel = has_too_few_samples(scores) and bool(scores["kid"].notna().any())
    return ScoreMetric("kid" if kernel else "fid", scores["features"].iloc[0])
