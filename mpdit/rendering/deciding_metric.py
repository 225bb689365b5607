"""Which of two metrics decides: the Fréchet distance, or the kernel distance where samples are too few for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..experiment.metric_names import metric_label, metric_name

if TYPE_CHECKING:
    import pandas as pd


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


def has_fewer_samples_than_features(scores: pd.DataFrame) -> bool:
    """Whether any of these rows of fid.csv has a Fréchet distance that is biased for lack of samples."""
    return bool(scores["fid_rank_deficient"].eq(True).any())


def deciding_metric(scores: pd.DataFrame) -> ScoreMetric:
    """The metric to judge these rows of fid.csv by, all on the same features.

    It is the kernel distance where there are fewer samples than features and there is a kernel distance at all, and the
    Fréchet distance otherwise.
    """
    kernel = has_fewer_samples_than_features(scores) and bool(scores["kid"].notna().any())
    return ScoreMetric("kid" if kernel else "fid", scores["features"].iloc[0])
