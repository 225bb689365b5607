"""The table and the figures that each block of `experiments:` has, whatever it varies, and all comparisons in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..experiment.columns import HELDOUT_AGGREGATES
from .block_table import block_table, comparison_of
from .comparisons_table import comparisons_table
from .figures import magnitudes, over_training, samples, seed_dots
from .lines import panels_of_block
from .registry import Artifact, ArtifactData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def _baseline(runs: pd.DataFrame) -> str:
    """The configuration or modulation whose lines are the baseline of the block."""
    comparison = comparison_of(runs)
    if comparison is None or comparison.column == "lr":
        return str(runs["config"].iloc[0])
    return str(comparison.base)


def _scores(data: ArtifactData) -> Figure:
    return seed_dots.seed_dots(data["runs"], data["fid"], data.get("heldout"), data.get("heldout_images"))


def _loss(data: ArtifactData) -> Figure:
    return over_training.loss_curves(data["runs"], data["training"], _baseline(data["runs"]), panels_of_block)


def _heldout_loss(data: ArtifactData) -> Figure:
    return over_training.heldout_loss_curves(data["runs"], data["heldout"], _baseline(data["runs"]), panels_of_block)


def _magnitudes(data: ArtifactData) -> Figure:
    return magnitudes.residual_stream_by_block(data["runs"], data["magnitudes"], panels_of_block)


def _samples(data: ArtifactData) -> Figure:
    return samples.sample_grids(data["runs"], data["fid"], data["samples"], panels_of_block)


def _figure(
    name: str,
    title: str,
    reads: tuple[str, ...],
    make: Callable[[ArtifactData], Figure],
    caption: str,
    reads_optional: tuple[str, ...] = (),
) -> Artifact:
    return Artifact(name, "figure", title, "Experiments", (), reads, caption, make, reads_optional)


OF_EVERY_BLOCK = (
    Artifact(
        name="table",
        kind="table",
        title="scores and changes",
        section="Experiments",
        experiments=(),
        reads=("runs", "fid", "cost"),
        reads_optional=HELDOUT_AGGREGATES,
        caption="Each setting of the experiment, and its changes against the baseline, paired by seed.",
        make=block_table,
    ),
    _figure(
        "scores",
        "scores by seed",
        ("runs", "fid"),
        _scores,
        "Scores, and held-out losses where there are any, of each setting of the experiment, with every seed as a dot.",
        HELDOUT_AGGREGATES,
    ),
    _figure(
        "loss",
        "training loss",
        ("runs", "training"),
        _loss,
        "Training loss of each setting of the experiment, and its ratio to that of the baseline, seed by seed and step "
        "by step. Lines are means over seeds. A cross marks the last finite loss of a run that diverged.",
    ),
    _figure(
        "heldout_loss",
        "held-out loss",
        ("runs", "heldout"),
        _heldout_loss,
        "Held-out loss of the EMA over training, its ratio to that of the baseline, and the loss on as many images "
        "that were trained on, minus the held-out loss.",
    ),
    _figure(
        "magnitudes",
        "residual stream by block",
        ("runs", "magnitudes"),
        _magnitudes,
        "Magnitude of the residual stream by block, at initialization and after training: means over noise levels and "
        "seeds.",
    ),
    _figure(
        "samples",
        "samples",
        ("runs", "fid", "samples"),
        _samples,
        "Samples of each setting of the experiment, one class per column. Images at the same position start from the "
        "same noise.",
    ),
)

COMPARISONS = Artifact(
    name="comparisons",
    kind="table",
    title="Paired comparisons",
    section="Tables",
    experiments=(),
    reads=("experiments",),
    caption="All comparisons of the study, each of a setting with the baseline of its experiment, paired by seed.",
    make=comparisons_table,
)
