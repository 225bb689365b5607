"""Names of features and metrics as tables and figures print them."""

from .features import FEATURES

INCEPTION_NAMES = {"fid": "FID", "kid": "KID"}
OTHER_NAMES = {"fid": "FD", "kid": "KD"}


def metric_label(features: str, metric: str = "fid") -> str:
    """The heading of a metric (`fid` or `kid`) of these features in tables and figures.

    `FID` and `KID` for Inception's features, `FD (EfficientNet-Lite0)` and `KD (EfficientNet-Lite0)` for the built-in
    ones, whose values are on another scale and cannot be compared with published ones.
    """
    if features == "inception":
        return INCEPTION_NAMES[metric]
    return f"{metric_name(features, metric)} ({FEATURES[features].label})"


def metric_name(features: str, metric: str = "fid") -> str:
    """`metric_label` without the network: `FID`, `KID`, `FD` or `KD`."""
    return (INCEPTION_NAMES if features == "inception" else OTHER_NAMES)[metric]
