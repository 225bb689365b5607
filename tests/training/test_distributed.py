"""Two processes on the CPU, connected by torchrun and gloo, train what one process trains."""

import signal
import subprocess
import time

import pytest
import torch
from helpers.tiny_runs import command, environment, make_spec, read_outcome, rows, run_command, train_in
from safetensors.torch import load_file

from mpdit.experiment.run_files import list_checkpoints


@pytest.mark.slow
def test_two_processes_train_what_one_trains_up_to_rounding(tmp_path, latents):
    spec = make_spec(gradient_clip=0.5)
    options = ("--devices", "2", "--log-every", "3", "--log", str(tmp_path / "log"))
    process = run_command(tmp_path / "two", spec, latents, *options)
    assert process.returncode == 0
    assert process.stderr.count("\n") == 1 and "written without a seal" in process.stderr  # by the first rank alone
    assert process.stdout.count("starts: 12 steps of 8 images") == 1  # only the first rank reports
    assert (tmp_path / "log").read_text() == process.stdout + process.stderr
    outcome = read_outcome(tmp_path / "two")
    assert (outcome.device, outcome.devices) == ("cpu", 2)
    assert train_in(tmp_path / "one", spec, latents, log_every=3) == 0
    assert len(rows(tmp_path / "two")) == 4
    for one, two in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert {key: float(value) for key, value in two.items()} == pytest.approx(
            {key: float(value) for key, value in one.items()}, rel=1e-4, nan_ok=True
        )
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_signal_to_torchrun_saves_and_one_process_can_resume(tmp_path, latents):
    spec = make_spec(steps=100_000, snapshots=1)
    process = subprocess.Popen(command(tmp_path, spec, latents, "--devices", "2"), env=environment())
    deadline = time.monotonic() + 60
    while not ((tmp_path / "train.log").exists() and "loss" in (tmp_path / "train.log").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) not in (0, None)
    step = list_checkpoints(tmp_path / "checkpoints")[-1][0]
    assert f"stops: SIGTERM received; step {step} is saved" in (tmp_path / "train.log").read_text()
    assert train_in(tmp_path, make_spec(steps=step + 2, snapshots=1), latents) == 0
