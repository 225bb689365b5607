"""The tiny study with the shipped profile on a real SLURM: submitted, canceled, out of time, and finished.

Two working folders share the cluster. In one the whole study is made while its training job is canceled twice; in the
other the same run is trained while its job is suspended until it reaches its time limit. Both runs must end
bit-identical to an undisturbed one.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from helpers import slurm_cluster
from helpers.projects import TINY, make_project, tiny_study, trained_runs
from helpers.slurm_cluster import cluster, output_of
from helpers.tiny_runs import assert_same_run, environment

from mpdit.experiment.run_files import list_checkpoints

pytestmark = pytest.mark.slow

STUDY = tiny_study(
    training={"steps": 600},
    execution={"log_every": 50, "checkpoint_every": 50},
    experiments={"table1": {**TINY["experiments"]["table1"], "config": "E"}},
)
PATIENCE = 300.0  # seconds


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which SLURM's commands find a cluster that was started for these tests."""
    missing = slurm_cluster.missing()
    if find_spec("snakemake_executor_plugin_slurm") is None:
        missing.append("snakemake-executor-plugin-slurm")
    if missing:
        refuse = pytest.fail if os.environ.get("MPDIT_REQUIRE_SLURM") else pytest.skip
        refuse(f"no {', '.join(missing)}: apt-get install {slurm_cluster.PACKAGES}; pip install -e '.[slurm]'")
    with cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield {**environment(), **variables}


@pytest.fixture(scope="module")
def studies(slurm, tmp_path_factory) -> tuple[Path, Path, Path, list[dict]]:
    """The run folders of the canceled, the timed-out and the undisturbed run, and all jobs as SLURM remembers them."""
    folder = tmp_path_factory.mktemp("studies")
    canceled, limited = (make_project(folder / name, STUDY) for name in ("canceled", "limited"))
    (run,) = trained_runs(snakemake(canceled, slurm, "--dry-run", "results/table1.csv"))
    goal = f"results/runs/{run}/trained.json"
    with ThreadPoolExecutor() as pool:
        study = pool.submit(snakemake, canceled, slurm, "results/table1.csv")
        wait_until(lambda: list(canceled.glob("results/latents/*/manifest.json")) and (canceled / goal).parent.is_dir())
        first = pool.submit(cancel_twice, canceled, (canceled / goal).parent, slurm)
        shutil.copytree(canceled / "results/latents", limited / "results/latents")
        # One minute is SLURM's shortest limit. The option replaces all_jobs that the profile sets by rule, including
        # the signal before the limit.
        short = ("--set-resources", "train:runtime=1 if attempt == 1 else 60")
        other = pool.submit(snakemake, limited, slurm, goal, *short)
        second = pool.submit(suspend_until_timeout, limited, (limited / goal).parent, slurm)
        undisturbed = train_undisturbed(canceled, canceled / goal, folder / "undisturbed")
        for future in (first, second, study, other):
            future.result()
    return (canceled / goal).parent, (limited / goal).parent, undisturbed, jobs(slurm)


def snakemake(project: Path, variables: dict, *arguments: str) -> str:
    """The output of Snakemake with the shipped profile; only the time between two queries of SLURM is shorter."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--workflow-profile", "slurm"]
    command += ["--slurm-init-seconds-before-status-checks", "1"]
    done = subprocess.run(
        command, cwd=project, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=2 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def train_undisturbed(project: Path, goal: Path, folder: Path) -> Path:
    """Train the run of `goal` in another folder with the command line. Returns the folder."""
    folder.mkdir()
    shutil.copy(goal.with_name("spec.json"), folder)
    (latents,) = (project / "results/latents").iterdir()
    command = [sys.executable, "-m", "mpdit", "train", folder / "spec.json", "--latents", latents]
    command += ["--output", folder / "trained.json", "--log-every", "50", "--checkpoint-every", "50"]
    subprocess.run(command, env=environment(), check=True, stdout=subprocess.DEVNULL)
    return folder


def cancel_twice(project: Path, run: Path, variables: dict) -> None:
    for resumed in range(2):
        wait_until(lambda times=resumed: log(run).count("continues from step") == times and has_advanced(run))
        (job,) = (job for job in jobs(variables, project, "rule_train") if job["JobState"] == "RUNNING")
        output_of(variables, "scancel", job["JobId"])


def suspend_until_timeout(project: Path, run: Path, variables: dict) -> None:
    """Suspend the trainer, so that its job reaches its limit however fast the machine is; SLURM then continues it."""
    wait_until(lambda: has_advanced(run))
    trainer = int(re.match(r"process (\d+) on ", (run / "lock").read_text())[1])
    os.kill(trainer, signal.SIGSTOP)
    assert re.search(rf"^{run.name} +running ", status(project, variables), re.MULTILINE)
    wait_until(lambda: jobs(variables, project, "rule_train")[0]["JobState"] == "TIMEOUT")


def has_advanced(run: Path) -> bool:
    """Whether the current attempt has saved a checkpoint of its own."""
    resumed = re.findall(r"continues from step (\d+)", log(run))
    steps = [step for step, _ in list_checkpoints(run / "checkpoints")]
    return bool(steps) and max(steps) > int(resumed[-1] if resumed else 0)


def log(run: Path) -> str:
    return (run / "train.log").read_text() if (run / "train.log").exists() else ""


def status(project: Path, variables: dict) -> str:
    """The output of `mpdit status`, as on the login node."""
    command = [sys.executable, "-m", "mpdit", "status"]
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=True).stdout


def jobs(variables: dict, project: Path | None = None, comment: str = "") -> list[dict]:
    """The properties of all jobs that SLURM remembers, as `scontrol show job` names them, in order of submission."""
    lines = output_of(variables, "scontrol", "-o", "show", "jobs").splitlines()
    known = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]
    own = [job for job in known if project is None or job["WorkDir"] == str(project)]
    return sorted((job for job in own if job["Comment"].startswith(comment)), key=lambda job: int(job["JobId"]))


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_study_has_its_table_and_figures(studies):
    results = studies[0].parents[1]
    table = pd.read_csv(results / "table1.csv")
    assert "E" in set(table["config"])
    assert table.loc[table["config"] == "E", "status"].tolist() == ["trained"]
    assert list((results / "figures").glob("*.png"))


def test_a_run_whose_job_is_canceled_twice_ends_bit_identical(studies):
    canceled, _, undisturbed, _ = studies
    assert log(canceled).count("stops: SIGTERM received") == 2
    assert log(canceled).count("continues from step") == 2
    assert_same_run(canceled, undisturbed)


def test_a_run_whose_job_reaches_its_time_limit_ends_bit_identical(studies):
    _, limited, undisturbed, all_jobs = studies
    states = [job["JobState"] for job in all_jobs if job["WorkDir"] == str(limited.parents[2])]
    assert states == ["TIMEOUT", "COMPLETED"]
    assert log(limited).count("continues from step") == 1
    assert_same_run(limited, undisturbed)


def test_jobs_request_what_the_profile_states(studies):
    canceled, _, _, all_jobs = studies
    requested = {}
    for job in all_jobs:
        if job["WorkDir"] == str(canceled.parents[2]):
            requested.setdefault(re.match("rule_([a-z]+)", job["Comment"])[1], []).append(job)
    assert {rule: len(several) for rule, several in requested.items()} == {
        "encode": 1, "reference": 1, "train": 3, "evaluate": 1, "trace": 1, "cost": 1, "tables": 1,
    }  # fmt: skip
    for rule, several in requested.items():
        for job in several:
            on_gpu = rule not in ("encode", "tables")  # encoding needs no GPU without an autoencoder
            assert job["Partition"] == ("gpu" if on_gpu else "cpu"), rule
            assert job.get("TresPerJob") == ("gres:gpu:1" if on_gpu else None), rule
            assert job["Requeue"] == "1"
    assert [job["JobState"] for job in requested["train"]] == ["CANCELLED", "CANCELLED", "COMPLETED"]
    assert [job["TimeLimit"] for job in requested["train"]] == ["12:00:00", "1-00:00:00", "1-00:00:00"]
    assert [job["MinMemoryNode"] for job in requested["train"]] == ["32000M", "62.50G", "62.50G"]  # 64,000 MiB


def test_logs_of_all_jobs_are_kept(studies):
    logs = studies[0].parents[1] / "logs"
    assert len(list(logs.glob("rule_train/*/*.log"))) == 3
    assert len(list(logs.glob("group_evaluate*/**/*.log"))) == 1


def test_several_devices_request_as_many_gpus(slurm, tmp_path):
    several = STUDY | {"execution": {**STUDY["execution"], "devices": 4, "threads": 2}}
    dry = snakemake(make_project(tmp_path / "project", several), slurm, "--dry-run", "results/table1.csv")
    (train,) = re.findall(r"^rule train:\n(?:    .*\n)*?    resources: (.*)", dry, re.MULTILINE)
    assert "gpu=4" in train.split(", ")
