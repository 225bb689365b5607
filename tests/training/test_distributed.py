"""Two processes on the CPU, by torchrun and gloo, train what one process trains."""

import signal
import subprocess
import time

import pytest
import torch
from helpers.tiny_runs import command, environment, make_spec, rows, run_command, train_in, write_latents
from safetensors.torch import load_file

from mpdit.data.latents import Latents
from mpdit.system.errors import UserError
from mpdit.training.checkpoint import list_checkpoints
from mpdit.training.distributed import Ranks
from mpdit.training.trainer import Trainer


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    return write_latents(tmp_path_factory.mktemp("data") / "latents", posterior=True)


@pytest.mark.slow
def test_two_processes_train_what_one_does_to_float_error(tmp_path, latents):
    spec = make_spec(gradient_clip=0.5)
    done = run_command(tmp_path / "two", spec, latents, "--devices", "2", "--log-every", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("starts: 12 steps of 8 images") == 1  # the first rank alone speaks
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
def test_a_signal_to_torchrun_saves_and_the_run_goes_on_alone(tmp_path, latents):
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
    assert train_in(tmp_path, {**spec, "training": {**spec["training"], "steps": step + 2}}, latents) == 0


def test_a_batch_that_the_devices_cannot_share_is_refused(latents):
    with pytest.raises(UserError, match=r"training\.batch_size: 8 is not divisible by the number of devices, 3"):
        Trainer(make_spec(), Latents(latents), Ranks(0, 3, torch.device("cpu")))
