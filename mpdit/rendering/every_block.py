"""The table and the figures that each block of `experiments:` has, whatever it is called and whatever it varies."""

from __future__ import annotations

from ..experiment.columns import HELDOUT_AGGREGATES
from . import block_table
from .registry import Artifact

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
        make=block_table.block_table,
    ),
)
