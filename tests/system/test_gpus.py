"""GPUs of its own for every job: processes that take, wait, die and become another program; no GPU is needed."""

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

# Says what it got, and keeps it until its input ends.
JOB = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], os.getpid(), flush=True); sys.stdin.read()"


@pytest.fixture
def names() -> list[str]:
    """Two GPUs that nobody else has heard of."""
    return [f"GPU-{uuid.uuid4()}" for _ in range(2)]


def start(count: int, names: list[str] | None, *command: str, **variables: str) -> subprocess.Popen:
    given = {} if names is None else {"CUDA_VISIBLE_DEVICES": ",".join(names)}
    return subprocess.Popen(
        [sys.executable, "-m", "mpdit.system.gpus", str(count), *(command or (sys.executable, "-c", JOB))],
        env={**os.environ, **given, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def got(process: subprocess.Popen) -> list[str]:
    found, pid = process.stdout.readline().split()
    assert int(pid) == process.pid  # no process in between: signals arrive, and nothing outlives the job
    return found.split(",")


def end(process: subprocess.Popen) -> None:
    process.communicate("")


def test_each_job_has_a_gpu_of_its_own_and_more_jobs_wait(names):
    first, second = start(1, names), start(1, names)
    assert sorted(got(first) + got(second)) == sorted(names)
    third = start(1, names)
    assert third.stdout.readline() == f"waits for 1 of the GPUs {', '.join(names)}, which other jobs have\n"
    time.sleep(2.5 * gpus.LOOK_EVERY)
    assert third.poll() is None
    end(first)
    assert got(third)[0] in names
    end(second)
    end(third)


def test_a_killed_job_frees_its_gpu(names):
    first, second = start(1, names), start(1, names)
    freed, _ = got(first), got(second)
    first.send_signal(signal.SIGKILL)
    third = start(1, names)
    assert got(third) == freed
    for process in (first, second, third):
        end(process)


def test_a_job_of_two_gets_both_or_waits(names):
    one = start(1, names)
    got(one)
    both = start(2, names)
    assert both.stdout.readline().startswith("waits for 2 of the GPUs")
    end(one)
    assert got(both) == names
    end(both)


def test_the_gpus_stay_taken_when_the_command_becomes_another(names):
    """As training on several GPUs becomes torchrun."""
    twice = f"import os, sys; os.execv(sys.executable, [sys.executable, '-c', {JOB!r}])"
    first = start(2, names, sys.executable, "-c", twice)
    assert got(first) == names
    waiting = start(1, names)
    assert waiting.stdout.readline().startswith("waits")
    end(first)
    assert got(waiting) == names[:1]
    end(waiting)


def test_jobs_of_two_allocations_may_both_call_theirs_the_same(names):
    first, second = (start(2, names, SLURM_JOB_ID=str(job)) for job in (1, 2))
    assert got(first) == got(second) == names
    end(first)
    end(second)
    for path in gpus.LOCKS.glob(f"*{names[0]}*"):
        path.unlink()


def test_more_than_there_are_is_one_line(names):
    process = start(3, names)
    _, error = process.communicate()
    assert process.returncode == 2
    assert error.startswith(
        f"mpdit.system.gpus: 3 GPUs are asked for and 2 are there ({names[0]}, {names[1]}): must be"
    )
    assert len(error.splitlines()) == 1


def test_a_command_that_waits_gives_up_when_its_reason_is_gone(names):
    holder = start(2, names)
    got(holder)
    assert gpus.take(1, names, stop=lambda: "Snakemake has died", say=lambda line: None) is None
    end(holder)


def test_gpus_are_listed_by_nvidia_smi_where_none_are_given(tmp_path, monkeypatch):
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


def test_a_machine_without_gpus_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError, match=r"1 GPUs are asked for and 0 are there \(none\)"):
        gpus.take(1, gpus.visible())


@pytest.mark.slow
def test_snakemake_gives_each_running_job_a_gpu_of_its_own(tmp_path, names):
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
        seen.append(trainers(snakemake.pid))
        assert set(seen[-1].values()) <= set(names)
        assert len(set(seen[-1].values())) == len(seen[-1]), "two jobs on one GPU"
        time.sleep(0.05)
    assert snakemake.returncode == 0, log.read_text()
    assert max(map(len, seen)) == 2, "the GPUs were never all in use"
    assert len({pid for running in seen for pid in running}) == 3


def trainers(snakemake: int) -> dict[int, str]:
    """Process -> its GPUs, of those that train now."""
    found = {}
    for process in psutil.Process(snakemake).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[1:4] == ["-m", "mpdit", "train"]:
                found[process.pid] = process.environ()["CUDA_VISIBLE_DEVICES"]
    return found
