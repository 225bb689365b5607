"""How fast jobs run: a rate given by the user, measured by finished runs or cost.csv, or assumed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..experiment import run_files
from ..experiment.columns import COST
from ..experiment.records import TrainedRun
from ..experiment.run_spec import DataIdentity, RunSpec
from ..results.tables import read_table
from ..system.console import with_si_prefix
from ..system.device import choose_device
from ..system.errors import UserError
from .jobs import Job, Workload
from .sizes import BACKWARD

# FLOP/s where nothing has been measured: by order of magnitude what small models reach. A GPU's is a twentieth of the
# 989 TFLOP/s that NVIDIA's data sheet gives the H100 in bfloat16, a sixth of the A100's.
ASSUMED = {"GPU": 5e13, "core": 2e10}
# Seconds that a job takes beside its work: Python and torch start, files are read. On a GPU, models are compiled.
START = {"GPU": 10.0, "core": 5.0}
COMPILING = {"GPU": 40.0, "core": 0.0}


@dataclass(frozen=True)
class Rate:
    """How fast jobs run on one `unit`, which is a GPU or a core."""

    unit: str  # GPU | core
    flops: float  # FLOP/s
    source: str  # where the rate is from, in words for the reader
    compiling: float  # seconds that a training takes on top, because `flops` does not include compilation
    by_model: Mapping[str, float] = field(default_factory=dict)  # FLOP/s of models that have been measured

    def seconds(self, rule: str, job: Job) -> float:
        """The time that a job of `rule` takes on one unit, in seconds."""
        compiling = self.compiling if rule == "train" else 0
        return START[self.unit] + compiling + job.flops / self.by_model.get(job.model, self.flops)


def find_rate(workload: Workload, given: float | None = None) -> Rate:
    """The rate of the devices that the study runs on; `given` is the user's, in FLOP/s."""
    unit = _unit(workload.experiment.execution.device)
    if given is not None:
        return Rate(unit, given, f"{_words(given)} per {unit}, as given", COMPILING[unit])
    return _from_runs(workload, unit) or _from_cost(workload, unit) or _assumed(unit)


def _unit(device: str) -> str:
    if device == "auto":
        device = choose_device(device).type
    return "core" if device == "cpu" else "GPU"


def _assumed(unit: str) -> Rate:
    source = f"{_words(ASSUMED[unit])} per {unit}: ASSUMED, no run of this study has been measured here"
    return Rate(unit, ASSUMED[unit], source, COMPILING[unit])


def _from_runs(workload: Workload, unit: str) -> Rate | None:
    """The rate of finished runs of this study's models and data on such a unit; it includes compilation."""
    experiment = workload.experiment
    data, models = DataIdentity.of(experiment.data), {run.model for run in experiment.runs.values()}
    speeds: dict[str, list[float]] = {}
    for path in sorted(workload.results.glob(f"runs/*/{run_files.TRAINED}")):
        try:
            trained, run = TrainedRun.read(path), RunSpec.read(path.with_name(run_files.SPEC))
        except UserError:
            continue  # `mpdit status` reports damaged runs
        units = _units(trained, unit)
        if run.data == data and run.model in models and units > 0 and trained.images_per_second > 0:
            flops = (1 + BACKWARD) * workload.size(run).flops
            speeds.setdefault(run.model, []).append(flops * trained.images_per_second / units)
    count = sum(map(len, speeds.values()))
    origin = f"measured by {count} finished run{'' if count == 1 else 's'}"
    return _measured(unit, speeds, origin, compiling=0.0)


def _units(trained: TrainedRun, unit: str) -> int:
    """The number of units that a run was trained on; 0 where it was on units of the other kind."""
    if trained.device == "cpu":
        return trained.devices * trained.threads if unit == "core" else 0
    return trained.devices if unit == "GPU" else 0


def _from_cost(workload: Workload, unit: str) -> Rate | None:
    """The rate of the bare steps in cost.csv, which include neither data nor EMAs nor compilation."""
    experiment, path = workload.experiment, workload.results / "cost.csv"
    if not path.exists():
        return None
    try:
        cost = read_table(path, COST)
    except UserError:
        return None  # a file of another version
    batch_size = next(iter(experiment.runs.values())).training.batch_size
    flops = {(run.model, run.config, run.modulation): workload.size(run).flops for run in experiment.runs.values()}
    speeds: dict[str, list[float]] = {}
    for row in cost.to_dict("records"):
        is_cpu = row["device"] == "cpu"
        units = row["threads"] if is_cpu else 1
        is_ours = flops.get((row["model"], row["config"], row["modulation"])) == row["flops"]
        if row["form"] == "cheap" and is_ours and is_cpu == (unit == "core") and row["step_seconds"] > 0 and units > 0:
            speed = (1 + BACKWARD) * row["flops"] * batch_size / row["step_seconds"] / units
            speeds.setdefault(row["model"], []).append(speed)
    return _measured(unit, speeds, f"measured by the bare steps in {path}", COMPILING[unit])


def _measured(unit: str, speeds: Mapping[str, Sequence[float]], origin: str, compiling: float) -> Rate | None:
    if not speeds:
        return None
    by_model = {model: statistics.median(measured) for model, measured in speeds.items()}
    overall = statistics.median(by_model.values())
    models = ", ".join(f"{model} {_words(speed)}" for model, speed in by_model.items())
    return Rate(unit, overall, f"per {unit}: {models}, {origin}", compiling, by_model)


def _words(flops: float) -> str:
    return f"{with_si_prefix(flops)}FLOP/s"
