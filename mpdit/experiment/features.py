"""Features whose distances are compared, and which distance decides between two sets of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ..system.errors import UserError
from .study_file import registry

SAMPLES_PER_DIMENSION = 5  # of a Fréchet distance that decides
FID_10K = 10_000  # samples: with so many, FIDs are published as they are


@dataclass(frozen=True)
class Features:
    """A kind of features."""

    label: str  # in headings of tables and figures
    dimension: int
    network: str  # which computes them, or what they are a projection of
    components: int | None = None  # number of principal components of the reference that they are projected on
    flops: int = 0  # of one image through the network, at the size that it sees, by torch's FlopCounterMode
    version: int | None = None  # of a study's own; None: the package's
    load: Callable[[], Any] | None = None  # of a study's own: () -> nn.Module, uint8 (N, 3, H, W) -> (N, dimension)


# By the names that `scoring.features` gives them. A Fréchet distance is called FID only where the network is Inception.
FEATURES: dict[str, Features] = registry({
    "efficientnet-lite0": Features("EfficientNet-Lite0", 1280, "efficientnet-lite0", flops=141_027_264),
    "efficientnet-lite0-pca64": Features(
        "EfficientNet-Lite0, 64 components", 64, "efficientnet-lite0", 64, flops=141_027_264
    ),
    "inception": Features("Inception", 2048, "inception", flops=11_422_336_192),
})  # fmt: skip

Load = TypeVar("Load", bound=Callable[[], Any])


def features(name: str, *, version: int, label: str, dimension: int, flops: int = 0) -> Callable[[Load], Load]:
    """Register the decorated function as the features `name` of a study.

    It returns an nn.Module without arguments: images (N, 3, H, W) uint8 -> features (N, dimension). `version` is part
    of the names of references and scores: raise it when the features are others. `label` names them in headings.
    Raises UserError for a name that is taken or is no name, and for a version or dimension that is no whole number.
    """
    where = f"features {name!r}"
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"{where}: expected a name of letters, digits and underscores")
    if name in FEATURES:
        raise UserError(f"{where}: the name is taken; choose another name")
    for key, value in {"version": version, "dimension": dimension}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{where}: {key}: expected a whole number of at least 1, got {value!r}")

    def add(load: Load) -> Load:
        FEATURES[name] = Features(label, dimension, name, flops=flops, version=version, load=load)
        return load

    return add


def feature_names() -> tuple[str, ...]:
    """Names of all features: the package's own, then those of the study."""
    return tuple(FEATURES)


def file_name(name: str) -> str:
    """Features as names of files have them: those of a study with their version."""
    version = FEATURES[name].version
    return name if version is None else f"{name}-v{version}"


def deciding_metric(count: int, dimension: int) -> Literal["fid", "kid"]:
    """The column of fid.csv that decides, for so many samples (the smaller of both sets) of features.

    With few samples a Fréchet distance is biased upward, by an amount that depends on the model, so that it may rank
    models wrongly; the kernel distance is not. `fid` decides from 5 times as many samples as dimensions on, and from
    10,000 in any case: FID-10K is what is published, at 4.9 times Inception's 2,048 dimensions.
    """
    enough = count >= min(SAMPLES_PER_DIMENSION * dimension, FID_10K) and count > dimension
    return "fid" if enough else "kid"
