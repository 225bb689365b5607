"""How fast jobs go: as given, as finished runs or cost.csv have measured, or assumed; and which of these it was."""

import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..experiment.run_spec import DataIdentity, RunSpec
from ..system.console import with_si_prefix
from ..system.device import choose_device
from ..system.errors import UserError
from ..system.files import read_json
from .jobs import Study
from .sizes import BACKWARD

# Floating-point operations a second where nothing has been measured: by order of magnitude what small models reach.
# A GPU's is a twentieth of the 989 TFLOP/s that NVIDIA's data sheet gives the H100 in bfloat16, a sixth of the A100's.
ASSUMED = {"GPU": 5e13, "core": 2e10}
# Seconds that a job takes beside its work: Python and torch start, files are read. On a GPU, models are compiled.
START = {"GPU": 10.0, "core": 5.0}
COMPILING = {"GPU": 40.0, "core": 0.0}


@dataclass(frozen=True)
class Rate:
    """How fast jobs go on one `unit`, a GPU or a core."""

    unit: str  # GPU | core
    flops: float  # a second
    by_model: Mapping[str, float]  # the same, of models that have been measured
    source: str  # where it is known from, in words
    compiling: float  # seconds of a training that `flops` does not hold

    def seconds(self, rule: str, model: str, flops: float) -> float:
        """What a job of `rule` takes of the unit."""
        compiling = self.compiling if rule == "train" else 0
        return START[self.unit] + compiling + flops / self.by_model.get(model, self.flops)


def find_rate(study: Study, given: float | None = None) -> Rate:
    """The rate of the devices that the study is to run on."""
    unit = _unit(study.experiment.execution["device"])
    if given is not None:
        return Rate(unit, given, {}, f"{_words(given)} a {unit}, as given", COMPILING[unit])
    return _from_runs(study, unit) or _from_cost(study, unit) or _assumed(unit)


def _unit(device: str) -> str:
    if device == "auto":
        device = choose_device(device).type
    return "core" if device == "cpu" else "GPU"


def _assumed(unit: str) -> Rate:
    source = f"{_words(ASSUMED[unit])} a {unit}: ASSUMED, no run of this study has been measured here"
    return Rate(unit, ASSUMED[unit], {}, source, COMPILING[unit])


def _from_runs(study: Study, unit: str) -> Rate | None:
    """From finished runs of this study's models and data, on such a unit. What they took holds compilation."""
    data, models = DataIdentity.of(study.experiment.data), {run.model for run in study.experiment.runs.values()}
    speeds: dict[str, list[float]] = {}
    for path in sorted(study.results.glob("runs/*/trained.json")):
        try:
            trained, run = read_json(path), RunSpec.read(path.with_name("spec.json"))
            device, shared = _device(trained)
            if run.data != data or run.model not in models or device != unit:
                continue
            flops = study.size_of(run.model, run.config, run.modulation).flops
            speed = (1 + BACKWARD) * flops * trained["images_per_second"] / shared
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, UserError):
            continue  # `mpdit status` tells of damaged runs
        if speed > 0:
            speeds.setdefault(run.model, []).append(speed)
    count = sum(map(len, speeds.values()))
    runs = f"as {count} finished run{' has' if count == 1 else 's have'} measured"
    return _measured(unit, speeds, runs, compiling=0.0)


def _device(trained: Mapping) -> tuple[str, int]:
    """Unit, and how many of it a run had: device is `cpu`, the name of a GPU, or such as `4 x NVIDIA A100`."""
    if trained["device"] == "cpu":
        return "core", trained["threads"]
    count, times, _ = trained["device"].partition(" x ")
    return "GPU", int(count) if times and count.isdigit() else 1


def _from_cost(study: Study, unit: str) -> Rate | None:
    """From cost.csv, which timed bare steps: without data and EMAs, nor compilation."""
    experiment, path = study.experiment, study.results / "cost.csv"
    if not path.exists():
        return None
    batch_size, speeds = experiment.measured()["batch_size"], {}
    sizes = {(run.model, run.config, run.modulation): study.size(run).flops for run in experiment.runs.values()}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            try:
                flops, shared = int(row["flops"]), int(row["threads"]) if row["device"] == "cpu" else 1
                key, on = (row["model"], row["config"], row["modulation"]), "core" if row["device"] == "cpu" else "GPU"
                if row["form"] != "cheap" or on != unit or sizes.get(key) != flops:  # of another study
                    continue
                speed = (1 + BACKWARD) * flops * batch_size / float(row["step_seconds"]) / shared
            except (KeyError, TypeError, ValueError, ArithmeticError):
                continue  # a file of another version
            speeds.setdefault(row["model"], []).append(speed)
    return _measured(unit, speeds, f"as bare steps in {path} have measured", COMPILING[unit])


def _measured(unit: str, speeds: Mapping[str, Sequence[float]], how: str, compiling: float) -> Rate | None:
    if not speeds:
        return None
    by_model = {model: statistics.median(found) for model, found in speeds.items()}
    overall = statistics.median(by_model.values())
    models = ", ".join(f"{model} {_words(speed)}" for model, speed in by_model.items())
    return Rate(unit, overall, by_model, f"a {unit}: {models}, {how}", compiling)


def _words(flops: float) -> str:
    return f"{with_si_prefix(flops)}FLOP/s"
