"""Aggregated CSVs -> the files of a table or a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ..experiment.columns import HELDOUT_AGGREGATES, SCHEMAS
from ..results.shown_study import ShownStudy, showing
from ..results.tables import read_table
from ..system.errors import UserError
from ..system.files import read_json
from . import style, table_format
from .claims.settings import read_settings
from .registry import Artifact, ArtifactData


def read(
    artifact: Artifact, folder: str | Path, cost: str | Path | None = None, runs: str | Path | None = None
) -> ArtifactData:
    """Read what an artifact needs.

    Args:
        folder: the folder of the aggregated CSVs and of their plan.json, which holds what the study defines.
        cost: path of cost.csv; by default the one in `folder`. Without any, step times are missing (None).
        runs: the folder of run folders, needed for samples only.

    Raises UserError for a file that is missing or invalid.
    """
    folder = Path(folder)
    plan = folder / "plan.json"
    data: Any = {"study": ShownStudy.of_plan(read_json(plan))} if plan.exists() else {}
    for name in artifact.reads:
        if name == "samples":
            if runs is None:
                raise UserError(f"--runs: missing: {artifact.name} shows samples, which are in the folder of runs")
            data[name] = Path(runs)
        elif name == "settings":
            data[name] = read_settings(folder)
        elif name == "experiments":
            data[name] = {block: _read_block(folder / "experiments" / block) for block in _blocks(folder)}
        elif name == "cost" and cost is None and not (folder / "cost.csv").exists():
            data[name] = None
        else:
            data[name] = read_table(cost if name == "cost" and cost else folder / f"{name}.csv", SCHEMAS[name])
    for name in artifact.reads_optional:
        if (folder / f"{name}.csv").exists():
            data[name] = read_table(folder / f"{name}.csv", SCHEMAS[name])
    return cast(ArtifactData, data)


def _read_block(folder: Path) -> ArtifactData:
    names = ["runs", "fid", *(name for name in HELDOUT_AGGREGATES if (folder / f"{name}.csv").exists())]
    return cast(ArtifactData, {name: read_table(folder / f"{name}.csv", SCHEMAS[name]) for name in names})


def _blocks(folder: str | Path) -> list[str]:
    """The blocks whose aggregates the folder holds, from its plan.json; none without a plan."""
    plan = Path(folder) / "plan.json"
    return [name for name in str(read_json(plan).get("experiment", "")).split("+") if name] if plan.exists() else []


def block_of(folder: str | Path) -> str | None:
    """The block whose aggregates the folder holds, from its plan.json; None for several blocks and without a plan."""
    blocks = _blocks(folder)
    return blocks[0] if len(blocks) == 1 else None


def render(artifact: Artifact, data: ArtifactData, output: str | Path) -> None:
    """Make the artifact and write all of its files: `output`, and files of the same name with the other suffixes."""
    with showing(data.get("study", ShownStudy())):
        if artifact.kind == "table":
            table_format.save(artifact.make(data), output, artifact.caption)
        else:
            with style.style():
                style.save(artifact.make(data), output)
