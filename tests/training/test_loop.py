"""The training loop against a plain one; how it stops, resumes, and diverges."""

import os
import signal
import subprocess
import time

import pytest
import torch
from helpers.tiny_runs import (
    after_step,
    assert_same_run,
    command,
    environment,
    log_lines,
    make_spec,
    read_outcome,
    rows,
    train_in,
    write_latents,
)
from safetensors.torch import load_file
from torch import nn

from mpdit.data.latents import Latents
from mpdit.experiment.run_files import list_checkpoints
from mpdit.experiment.snapshot_files import list_snapshots
from mpdit.model.diffusion import Diffusion
from mpdit.model.dit import create_model
from mpdit.system.errors import UserError
from mpdit.system.interruption import STATUS
from mpdit.system.seals import inspect
from mpdit.system.seeds import generator
from mpdit.training.forced_norm import force_rows

# --- Against a plain loop ---


@pytest.mark.parametrize("config", ["A", "E"])
@pytest.mark.parametrize("clip", [None, 0.01])
def test_training_equals_a_plain_loop_of_adam_on_the_hybrid_loss(tmp_path, config, clip):
    """The plain loop draws the same numbers; for Config E it uses the textbook form of forced normalization."""
    folder = write_latents(tmp_path / "latents", count=20)
    spec = make_spec(config, lr=0.003, steps=5, gradient_clip=clip)
    assert train_in(tmp_path / "run", spec, folder) == 0

    latents, diffusion = Latents(folder), Diffusion()
    form = {} if config == "A" else {"weights": "normalized"}  # rows divided by their norm in the forward pass
    model = create_model("DiT-Nano/2", config, input_size=4, in_channels=2, num_classes=3, seed=0, **form)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003, betas=(0.9, 0.99))
    epochs = torch.cat([torch.randperm(20, generator=generator(0, "order", epoch)) for epoch in range(2)])
    for step in range(1, 6):
        if form:
            force_rows([parameter for parameter in model.parameters() if parameter.ndim == 2])
        x0, y = latents.batch(epochs[8 * (step - 1) : 8 * step])
        noise = torch.randn(8, 2, 4, 4, generator=generator(0, "noise", step))
        t = torch.randint(1000, (8,), generator=generator(0, "t", step))
        y[torch.rand(8, generator=generator(0, "drop", step)) < 0.1] = 3
        x_t = diffusion.add_noise(x0, noise, t)
        loss = sum(diffusion.losses(model(x_t, t, y), x0, noise, t)).mean()
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.param_groups[0]["lr"] = 0.003 * min(step / 3, 1)
        optimizer.step()
    trained = load_file(tmp_path / "run" / "checkpoints" / "step-00000005.safetensors")
    for name, parameter in model.named_parameters():
        expected = nn.functional.normalize(parameter, dim=-1) if form and parameter.ndim == 2 else parameter
        torch.testing.assert_close(trained[f"model/{name}"], expected.detach(), rtol=1e-4, atol=2e-6)
    assert float(rows(tmp_path / "run")[-1]["lr"]) == 0.003


@pytest.mark.slow
def test_compiled_training_gives_the_same_losses(tmp_path, latents, uninterrupted, monkeypatch):
    """The step is captured and replayed as graphs; only code generation, which takes minutes on a CPU, is left out."""
    compiled = []

    def compile(function, mode=None):
        compiled.append(function)
        return torch_compile(function, backend="aot_eager", fullgraph=True)

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile)
    assert train_in(tmp_path, make_spec(), latents, compile=True) == 0
    assert len(compiled) == 3  # the loss, the projection, the renormalization
    for ours, eager in zip(rows(tmp_path), rows(uninterrupted), strict=True):
        assert {key: float(value) for key, value in ours.items()} == pytest.approx(
            {key: float(value) for key, value in eager.items()}, rel=1e-4
        )


# --- Stopping and resuming ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_by_a_signal_resumes_bit_identically(tmp_path, latents, uninterrupted, monkeypatch, number):
    with monkeypatch.context() as patch:
        after_step(patch, 7, lambda: os.kill(os.getpid(), number))
        assert train_in(tmp_path, make_spec(), latents) == STATUS == 75
    assert list_checkpoints(tmp_path / "checkpoints")[-1][0] == 7
    assert not (tmp_path / "trained.json").exists()
    assert log_lines(tmp_path)[-1] == f"stops: {signal.Signals(number).name} received; step 7 is saved"
    assert train_in(tmp_path, make_spec(), latents, lock_wait=0) == 0
    assert any(line.startswith("continues from step 7 of 12 steps") for line in log_lines(tmp_path))
    assert_same_run(tmp_path, uninterrupted)


def test_raising_the_steps_gives_what_one_long_run_gives(tmp_path, latents, uninterrupted):
    assert train_in(tmp_path, make_spec(steps=7), latents) == 0
    assert train_in(tmp_path, make_spec(), latents) == 0
    state = load_file(tmp_path / "checkpoints" / "step-00000012.safetensors")
    expected = load_file(uninterrupted / "checkpoints" / "step-00000012.safetensors")
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert rows(tmp_path) == rows(uninterrupted)  # the last row of the short run is between two log rows, and gone
    assert read_outcome(tmp_path).steps == 12


def test_a_trainer_saves_and_exits_when_its_snakemake_dies(tmp_path, latents):
    """Between the two is a shell, which outlives the Snakemake that is killed."""
    words = command(tmp_path / "run", make_spec(steps=1_000_000, snapshots=1), latents)
    script = tmp_path / "snakemake"
    script.write_text(f"sh -c '{' '.join(words)}; true'; true")
    snakemake = subprocess.Popen(["sh", script], env=environment(), stdout=subprocess.DEVNULL)
    train_log = tmp_path / "run" / "train.log"
    wait_for(lambda: train_log.exists() and "step" in train_log.read_text(), 60)
    snakemake.kill()
    snakemake.wait()
    wait_for(lambda: "the Snakemake that started this process has died" in train_log.read_text(), 10)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# --- Divergence ---


def test_divergence_is_a_result(tmp_path, latents):
    spec = make_spec("A", lr=1e36, steps=40)
    assert train_in(tmp_path / "a", spec, latents, log_every=5, checkpoint_every=1) == 0
    done = read_outcome(tmp_path / "a")
    assert done.status == "diverged" and done.loss is None
    step = done.step
    assert 1 <= step < 40
    assert list_checkpoints(tmp_path / "a" / "checkpoints")[-1][0] == step - 1
    for _, path in list_checkpoints(tmp_path / "a" / "checkpoints"):
        assert all(tensor.isfinite().all() for name, tensor in load_file(path).items() if name.startswith("model/"))
    assert all(s.step < step for s in list_snapshots(tmp_path / "a" / "snapshots"))
    last = (tmp_path / "a" / "training.csv").read_text().splitlines()[-1].split(",")
    assert (last[0], last[-1]) == (str(step), "diverged")
    os.truncate(tmp_path / "a" / "training.csv", (tmp_path / "a" / "training.csv").stat().st_size - 1)
    assert inspect(tmp_path / "a" / "training.csv").damage  # its seal covers the last row
    assert f"diverged at step {step}, loss" in log_lines(tmp_path / "a")[-1]
    # When the loss is read makes no difference, and neither does a second try.
    assert train_in(tmp_path / "b", spec, latents, log_every=20, checkpoint_every=None) == 0
    assert train_in(tmp_path / "a", spec, latents) == 0
    assert read_outcome(tmp_path / "a").step == read_outcome(tmp_path / "b").step == step


# --- Mistakes ---


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_cuda_device_is_an_error(tmp_path, latents):
    with pytest.raises(UserError, match="--device: cuda: torch finds no CUDA device"):
        train_in(tmp_path, make_spec(), latents, device="cuda")
