"""Workloads of a small study, and run folders with just the files from which a plan reads what is done."""

import json
import re
from pathlib import Path

from helpers.made_up_runs import outcome
from mpdit.experiment.grid import Experiment
from mpdit.experiment.ladder import parse_model, resolve
from mpdit.experiment.run_spec import RunSpec
from mpdit.planning.data_summary import summarize_data
from mpdit.planning.jobs import Workload
from mpdit.planning.sizes import ModelSize, model_size

SMALL_STUDY = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8, "snapshots": 4, "warmup_steps": 5, "decay_start": 30},
    "sampling": {"steps": 10, "count": 20},
    "scoring": {"features": "efficientnet-lite0"},
    "tracing": {"images": 16, "timesteps": [250, 750], "snapshots": 2},
    "execution": {"device": "cpu"},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/4", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0]},
        "table2": {
            "model": "DiT-Nano/4", "config": "E", "modulation": ["scale_shift", "scale"], "seed": [0],
            "sampling": {"seeds": [0, 1]},
        },
    },
}  # fmt: skip


def shipped_size(model: str, config: str, modulation: str, shape: tuple[int, int, int], classes: int) -> ModelSize:
    """The size of a model of the shipped ladder on latents of `shape` (C, H, W)."""
    return model_size(*parse_model(model), resolve(config), modulation, shape, classes)


def workload_of(results: Path, configuration: dict = SMALL_STUDY, blocks: list[str] | None = None) -> Workload:
    """The workload of some blocks, or of all."""
    experiment = Experiment(configuration)
    return Workload(experiment, blocks or list(experiment.blocks), results, summarize_data(experiment, results))


def run_of(workload: Workload, config: str) -> RunSpec:
    """The run of a configuration with scale + shift."""
    runs = workload.experiment.runs.values()
    return next(run for run in runs if (run.config, run.modulation) == (config, "scale_shift"))


def finish_run(run: RunSpec, results: Path, **changes) -> Path:
    """Write the JSON files of a run that was trained for 100 steps; `changes` are fields of trained.json."""
    folder = results / "runs" / run.name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(run.to_json()))
    (folder / "trained.json").write_text(json.dumps(outcome(run.name) | changes))
    return folder


def printed_row(output: str, name: str) -> list[str]:
    """The cells of the row that begins with `name` in one of the printed tables."""
    (line,) = re.findall(rf"^{name} .*$", output, re.MULTILINE)
    return re.split(r"  +", line)
