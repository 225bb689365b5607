"""The tiny study through the shipped profile, on a real SLURM: submitted, cancelled, out of time, and finished.

Two working folders share the cluster. In one the whole study is made, and its training job is cancelled twice; in the
other the same run is trained, and its job is held up until its time limit ends it. Both must end as a run that nothing
disturbed.
"""

import json
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
from helpers.projects import TINY, make_project
from helpers.slurm_cluster import ask, cluster
from helpers.tiny_runs import assert_same_run, environment

from mpdit.experiment.run_files import list_checkpoints

pytestmark = pytest.mark.slow

STUDY = json.loads(json.dumps(TINY))
STUDY["experiments"]["table1"]["config"] = "E"
STUDY["training"]["steps"] = 600
STUDY["execution"] |= {"log_every": 50, "checkpoint_every": 50}
PATIENCE = 300.0  # seconds


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which SLURM's commands find a cluster of their own."""
    lacking = slurm_cluster.missing()
    if find_spec("snakemake_executor_plugin_slurm") is None:
        lacking.append("snakemake-executor-plugin-slurm")
    if lacking:
        refuse = pytest.fail if os.environ.get("MPDIT_REQUIRE_SLURM") else pytest.skip
        refuse(f"no {', '.join(lacking)}: apt-get install {slurm_cluster.PACKAGES}; pip install -e '.[slurm]'")
    with cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield {**environment(), **variables}


@pytest.fixture(scope="module")
def studies(slurm, tmp_path_factory) -> tuple[Path, Path, Path, list[dict]]:
    """The run folders cancelled, out of time and undisturbed, and all jobs as SLURM remembers them."""
    folder = tmp_path_factory.mktemp("studies")
    cancelled, limited = (make_project(folder / name, STUDY) for name in ("cancelled", "limited"))
    (goal,) = re.findall(
        r"output: (results/runs/\S+/trained.json)", snakemake(cancelled, slurm, "--dry-run", "results/table1.csv")
    )
    with ThreadPoolExecutor() as pool:
        study = pool.submit(snakemake, cancelled, slurm, "results/table1.csv")
        wait_until(
            lambda: list(cancelled.glob("results/latents/*/manifest.json")) and (cancelled / goal).parent.is_dir()
        )
        first = pool.submit(cancel_twice, cancelled, (cancelled / goal).parent, slurm)
        shutil.copytree(cancelled / "results/latents", limited / "results/latents")
        # One minute is the least that SLURM knows. This takes the place of all that the profile sets by rule,
        # the warning before the limit among it.
        short = ("--set-resources", "train:runtime=1 if attempt == 1 else 60")
        other = pool.submit(snakemake, limited, slurm, goal, *short)
        second = pool.submit(hold_up, limited, (limited / goal).parent, slurm)
        undisturbed = train_undisturbed(cancelled, cancelled / goal, folder / "undisturbed")
        for future in (first, second, study, other):
            future.result()
    return (cancelled / goal).parent, (limited / goal).parent, undisturbed, jobs(slurm)


def snakemake(project: Path, variables: dict, *arguments: str) -> str:
    """Run with the shipped profile; only the time between two questions to SLURM is shorter. Returns its output."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--workflow-profile", "slurm"]
    command += ["--slurm-init-seconds-before-status-checks", "1"]
    done = subprocess.run(
        command, cwd=project, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=2 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def train_undisturbed(project: Path, goal: Path, folder: Path) -> Path:
    """Train the run of `goal` by the command line, elsewhere."""
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
        ask(variables, "scancel", job["JobId"])


def hold_up(project: Path, run: Path, variables: dict) -> None:
    """Stop the trainer, so that its job is there at its limit however fast the machine is; SLURM lets it continue."""
    wait_until(lambda: has_advanced(run))
    trainer = int(re.match(r"process (\d+) on ", (run / "lock").read_text())[1])
    os.kill(trainer, signal.SIGSTOP)
    assert re.search(rf"^{run.name} +running ", status(project, variables), re.MULTILINE)
    wait_until(lambda: jobs(variables, project, "rule_train")[0]["JobState"] == "TIMEOUT")


def has_advanced(run: Path) -> bool:
    """Whether the run that trains now has saved a checkpoint of its own."""
    found = re.findall(r"continues from step (\d+)", log(run))
    steps = [step for step, _ in list_checkpoints(run / "checkpoints")]
    return bool(steps) and max(steps) > int(found[-1] if found else 0)


def log(run: Path) -> str:
    return (run / "train.log").read_text() if (run / "train.log").exists() else ""


def status(project: Path, variables: dict) -> str:
    """What `mpdit status` prints, as on the login node."""
    command = [sys.executable, "-m", "mpdit", "status"]
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=True).stdout


def jobs(variables: dict, project: Path | None = None, comment: str = "") -> list[dict]:
    """All jobs that SLURM remembers, by what `scontrol show job` calls their properties, in order of submission."""
    lines = ask(variables, "scontrol", "-o", "show", "jobs").splitlines()
    found = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]
    chosen = [job for job in found if project is None or job["WorkDir"] == str(project)]
    return sorted((job for job in chosen if job["Comment"].startswith(comment)), key=lambda job: int(job["JobId"]))


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_study_has_its_table_and_its_figures(studies):
    results = studies[0].parents[1]
    table = pd.read_csv(results / "table1.csv")
    assert "E" in set(table["config"])
    assert table.loc[table["config"] == "E", "status"].tolist() == ["trained"]
    assert list((results / "figures").glob("*.png"))


def test_a_run_whose_job_is_cancelled_twice_ends_bit_identical(studies):
    cancelled, _, undisturbed, _ = studies
    assert log(cancelled).count("stops: SIGTERM received") == 2
    assert log(cancelled).count("continues from step") == 2
    assert_same_run(cancelled, undisturbed)


def test_a_run_whose_job_meets_its_time_limit_ends_bit_identical(studies):
    _, limited, undisturbed, everything = studies
    states = [job["JobState"] for job in everything if job["WorkDir"] == str(limited.parents[2])]
    assert states == ["TIMEOUT", "COMPLETED"]
    assert log(limited).count("continues from step") == 1
    assert_same_run(limited, undisturbed)


def test_jobs_ask_for_what_the_profile_says(studies):
    cancelled, _, _, everything = studies
    asked = {}
    for job in everything:
        if job["WorkDir"] == str(cancelled.parents[2]):
            asked.setdefault(re.match("rule_([a-z]+)", job["Comment"])[1], []).append(job)
    assert {rule: len(several) for rule, several in asked.items()} == {
        "encode": 1, "reference": 1, "train": 3, "evaluate": 1, "trace": 1, "cost": 1, "tables": 1,
    }  # fmt: skip
    for rule, several in asked.items():
        for job in several:
            on_gpu = rule not in ("encode", "tables")  # it is pixels that are encoded
            assert job["Partition"] == ("gpu" if on_gpu else "cpu"), rule
            assert job.get("TresPerJob") == ("gres:gpu:1" if on_gpu else None), rule
            assert job["Requeue"] == "1"
    assert [job["JobState"] for job in asked["train"]] == ["CANCELLED", "CANCELLED", "COMPLETED"]
    assert [job["TimeLimit"] for job in asked["train"]] == ["12:00:00", "1-00:00:00", "1-00:00:00"]
    assert [job["MinMemoryNode"] for job in asked["train"]] == ["32000M", "62.50G", "62.50G"]  # 64,000 MiB


def test_logs_of_all_jobs_are_kept(studies):
    logs = studies[0].parents[1] / "logs"
    assert len(list(logs.glob("rule_train/*/*.log"))) == 3
    assert len(list(logs.glob("group_evaluate*/**/*.log"))) == 1


def test_several_devices_ask_for_as_many_gpus(slurm, tmp_path):
    several = json.loads(json.dumps(STUDY))
    several["execution"] |= {"devices": 4, "threads": 2}
    dry = snakemake(make_project(tmp_path / "project", several), slurm, "--dry-run", "results/table1.csv")
    (train,) = re.findall(r"^rule train:\n(?:    .*\n)*?    resources: (.*)", dry, re.MULTILINE)
    assert "gpu=4" in train.split(", ")
