"""Rates: given, measured by finished runs or by cost.csv, or assumed."""

import copy
import csv
from pathlib import Path

import pytest
from helpers.made_up_studies import cost_row
from helpers.workloads import SMALL_STUDY, finish_run, run_of, shipped_size, workload_of

from mpdit.experiment.columns import COST
from mpdit.experiment.run_spec import DataIdentity
from mpdit.planning.jobs import Job
from mpdit.planning.rates import ASSUMED, COMPILING, START, find_rate

ON_GPU = SMALL_STUDY | {"execution": {"device": "cuda"}}


def test_a_rate_is_given_or_assumed(tmp_path):
    workload, job = workload_of(tmp_path), Job("DiT-Nano/4", 3_000_000_000)
    assert find_rate(workload, 1e9).seconds("train", job) == START["core"] + 3
    assumed = find_rate(workload)
    assert assumed.flops == ASSUMED["core"]
    assert "ASSUMED" in assumed.source
    on_gpu = find_rate(workload_of(tmp_path, ON_GPU), 1e9)
    assert on_gpu.seconds("train", job) == START["GPU"] + COMPILING["GPU"] + 3
    assert on_gpu.seconds("score", Job("", 3_000_000_000)) == START["GPU"] + 3


def test_finished_runs_measure_the_rate(tmp_path):
    workload = workload_of(tmp_path)
    run = run_of(workload, "A")
    finish_run(run, tmp_path, images_per_second=500.0, threads=2)
    rate = find_rate(workload)
    assert rate.by_model == {"DiT-Nano/4": 3 * workload.size(run).flops * 500 / 2}
    assert "measured by 1 finished run" in rate.source


@pytest.mark.parametrize(
    "change", [{"device": "NVIDIA H100"}, {"images_per_second": None}, {"threads": 0}, {"device": 1}]
)
def test_a_run_on_other_devices_or_with_a_damaged_outcome_measures_nothing(tmp_path, change):
    workload = workload_of(tmp_path)
    finish_run(run_of(workload, "A"), tmp_path, **change)
    assert "ASSUMED" in find_rate(workload).source


@pytest.mark.parametrize("devices", [{"device": "4 x NVIDIA H100"}, {"device": "NVIDIA H100", "devices": 4}])
def test_a_run_on_several_gpus_measures_the_rate_of_one(tmp_path, devices):
    workload = workload_of(tmp_path, ON_GPU)
    run = run_of(workload, "A")
    finish_run(run, tmp_path, images_per_second=8000.0, **devices)
    rate = find_rate(workload)
    assert rate.by_model == {"DiT-Nano/4": 3 * workload.size(run).flops * 2000}
    assert rate.compiling == 0  # the time of the run includes it


def test_a_run_of_several_processes_on_the_cpu_measures_the_rate_of_one_core(tmp_path):
    workload = workload_of(tmp_path)
    run = run_of(workload, "A")
    finish_run(run, tmp_path, images_per_second=800.0, devices=2, threads=4)
    assert find_rate(workload).by_model == {"DiT-Nano/4": 3 * workload.size(run).flops * 100}


def test_runs_of_another_study_measure_nothing(tmp_path):
    other = copy.deepcopy(SMALL_STUDY)
    other["data"]["name"] = "others"
    foreign, ours = workload_of(tmp_path, other), workload_of(tmp_path)
    finish_run(run_of(foreign, "A"), tmp_path)
    assert DataIdentity.of(foreign.experiment.data) != DataIdentity.of(ours.experiment.data)
    assert "ASSUMED" in find_rate(ours).source


def write_cost(path: Path, **changes) -> None:
    row = cost_row(1.0, 0.9, 1.1, form="cheap") | {
        "model": "DiT-Nano/4", "device": "cpu", "step_seconds": 0.01, "threads": 2,
        "flops": shipped_size("DiT-Nano/4", "E", "scale_shift", (1, 8, 8), 10).flops,
    }  # fmt: skip
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COST.names)
        writer.writeheader()
        writer.writerow(row | changes)


def test_cost_csv_measures_the_rate_where_no_run_does(tmp_path):
    workload = workload_of(tmp_path)
    write_cost(tmp_path / "cost.csv")
    flops = workload.size(run_of(workload, "E")).flops
    assert find_rate(workload).by_model == pytest.approx({"DiT-Nano/4": 3 * flops * 8 / 0.01 / 2})


@pytest.mark.parametrize(
    "change",
    [
        {"flops": 7}, {"form": "textbook"}, {"device": "NVIDIA H100"}, {"step_seconds": ""}, {"model": "DiT-S/2"},
        {"threads": 0}, {"relative": ""},
    ],
)  # fmt: skip
def test_rows_of_cost_csv_that_do_not_fit_measure_nothing(tmp_path, change):
    write_cost(tmp_path / "cost.csv", **change)
    assert "ASSUMED" in find_rate(workload_of(tmp_path)).source
