"""Reserving GPUs: processes that reserve, wait, die and become another program. No GPU is needed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest
from helpers.projects import TINY, make_project

from mpdit.system import gpus
from mpdit.system.errors import UserError

# Prints which GPUs it got, and keeps them until its input ends.
JOB = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], os.getpid(), flush=True); sys.stdin.read()"


@pytest.fixture
def names() -> list[str]:
    """The names of two GPUs that nobody else uses."""
    return [f"GPU-{uuid.uuid4()}" for _ in range(2)]


def start(count: int, names: list[str], *command: str, **variables: str) -> subprocess.Popen:
    """Start a job that reserves `count` of the GPUs `names`."""
    return subprocess.Popen(
        [sys.executable, "-m", "mpdit.system.gpus", str(count), *(command or (sys.executable, "-c", JOB))],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(names), **variables},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def reserved(process: subprocess.Popen) -> list[str]:
    """The GPUs that a job prints once it has them."""
    visible, pid = process.stdout.readline().split()
    assert int(pid) == process.pid  # no process in between: signals arrive, and nothing outlives the job
    return visible.split(",")


def end(process: subprocess.Popen) -> None:
    process.communicate("")


def test_each_job_has_its_own_gpu_and_further_jobs_wait(names):
    first, second = start(1, names), start(1, names)
    assert sorted(reserved(first) + reserved(second)) == sorted(names)
    third = start(1, names)
    assert third.stdout.readline() == f"waiting for 1 of GPUs {', '.join(names)}, which other jobs are using\n"
    time.sleep(2.5 * gpus.POLL_INTERVAL)
    assert third.poll() is None
    end(first)
    assert reserved(third)[0] in names
    end(second)
    end(third)


def test_a_killed_job_frees_its_gpu(names):
    first, second = start(1, names), start(1, names)
    freed, _ = reserved(first), reserved(second)
    first.send_signal(signal.SIGKILL)
    third = start(1, names)
    assert reserved(third) == freed
    for process in (first, second, third):
        end(process)


def test_a_job_that_needs_two_gpus_gets_both_or_waits(names):
    one = start(1, names)
    reserved(one)
    both = start(2, names)
    assert both.stdout.readline().startswith("waiting for 2 of GPUs")
    end(one)
    assert reserved(both) == names
    end(both)


def test_gpus_stay_reserved_when_the_command_becomes_another_program(names):
    """As training on several GPUs becomes torchrun."""
    twice = f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', {JOB!r}])"
    first = start(2, names, sys.executable, "-c", twice)
    assert reserved(first) == names
    waiting = start(1, names)
    assert waiting.stdout.readline().startswith("waiting")
    end(first)
    assert reserved(waiting) == names[:1]
    end(waiting)


def test_slurm_jobs_may_use_the_same_names_for_different_gpus(names):
    first, second = (start(2, names, SLURM_JOB_ID=str(job)) for job in (1, 2))
    assert reserved(first) == reserved(second) == names
    end(first)
    end(second)
    for path in gpus.LOCKS.glob(f"*{names[0]}*"):
        path.unlink()


def test_requesting_more_gpus_than_exist_is_an_error_of_one_line(names):
    process = start(3, names)
    _, error = process.communicate()
    assert process.returncode == 2
    assert error.startswith(
        f"mpdit.system.gpus: GPUs requested: 3, available: 2 ({names[0]}, {names[1]}); request no more than"
    )
    assert len(error.splitlines()) == 1


def test_a_command_that_is_not_there_is_one_line(names):
    process = start(1, names, "/nowhere/mpdit", "train")
    assert process.communicate()[1] == "mpdit.system.gpus: /nowhere/mpdit: no such file\n"
    assert process.returncode == 2


def test_ctrl_c_ends_a_waiting_command_without_a_traceback(names):
    other = start(2, names)
    reserved(other)
    waiting = start(1, names, PYTHONUNBUFFERED="1")
    assert waiting.stdout.readline().startswith("waiting for 1 of GPUs ")
    waiting.send_signal(signal.SIGINT)
    assert (waiting.communicate()[1], waiting.returncode) == ("", 130)
    end(other)


def test_a_waiting_command_gives_up_when_there_is_a_reason_to_stop(names):
    other = start(2, names)
    reserved(other)
    assert gpus.reserve(1, names, stop_reason=lambda: "Snakemake has died", report=lambda line: None) is None
    end(other)


def test_gpus_come_from_nvidia_smi_unless_the_environment_names_them(tmp_path, monkeypatch):
    listing = (
        "GPU 0: NVIDIA H100 (UUID: GPU-a)\n  MIG 1g.10gb Device 0: (UUID: MIG-b)\nGPU 1: NVIDIA H100 (UUID: GPU-c)"
    )
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ $1 = -L ] && echo '{listing}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.visible() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible() == []


def test_a_machine_without_gpus_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError, match=r"GPUs requested: 1, available: 0 \(none\)"):
        gpus.reserve(1, gpus.visible())


@pytest.mark.slow
def test_snakemake_gives_each_running_job_its_own_gpu(tmp_path, names):
    config = json.loads(json.dumps(TINY))
    config["experiments"]["table1"]["config"] = ["A", "B", "E"]
    project = make_project(tmp_path / "project", config)
    command = [sys.executable, "-m", "snakemake", "--cores", "4"]
    goals = subprocess.run([*command, "--dry-run"], cwd=project, capture_output=True, text=True, check=True).stdout
    goals = sorted(set(re.findall(r"output: (results/runs/\S+/trained.json)", goals)))
    assert len(goals) == 3
    log = tmp_path / "log"
    with open(log, "w") as output:
        snakemake = subprocess.Popen(
            [*command, *goals, "--resources", "gpu=2"], cwd=project, stdout=output, stderr=output,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(names)},
        )  # fmt: skip
    seen = []
    while snakemake.poll() is None:
        seen.append(running_trainers(snakemake.pid))
        assert set(seen[-1].values()) <= set(names)
        assert len(set(seen[-1].values())) == len(seen[-1]), "two jobs on one GPU"
        time.sleep(0.05)
    assert snakemake.returncode == 0, log.read_text()
    assert max(map(len, seen)) == 2, "the GPUs were never all in use"
    assert len({pid for running in seen for pid in running}) == 3


def running_trainers(snakemake: int) -> dict[int, str]:
    """The GPUs of each process that is training now, by process id."""
    trainers: dict[psutil.Process, str] = {}
    for process in psutil.Process(snakemake).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if is_trainer(process):
                trainers[process] = process.environ()["CUDA_VISIBLE_DEVICES"]
    # A job that ended while the others were looked at has left its GPU to the next one.
    return {process.pid: gpu for process, gpu in trainers.items() if is_trainer(process)}


def is_trainer(process: psutil.Process) -> bool:
    """Whether a process is training now."""
    try:
        return process.cmdline()[1:4] == ["-m", "mpdit", "train"]
    except psutil.Error:
        return False
