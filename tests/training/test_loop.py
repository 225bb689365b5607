"""One process trains a tiny run: what it writes, how it goes on, how it ends."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
import torch
from helpers.limits import largest_file
from helpers.tiny_runs import assert_same_run, command, environment, make_spec, rows, train_in, write_latents
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import mpdit
from mpdit.data.latents import Latents
from mpdit.model.diffusion import Diffusion
from mpdit.model.dit import create_model
from mpdit.system.errors import UserError
from mpdit.system.interruption import STATUS
from mpdit.system.seeds import generator
from mpdit.training import run_folder
from mpdit.training.checkpoint import list_checkpoints
from mpdit.training.distributed import Ranks
from mpdit.training.forced_norm import force_rows
from mpdit.training.snapshots import list_snapshots
from mpdit.training.trainer import Trainer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    return write_latents(tmp_path_factory.mktemp("data") / "latents", posterior=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, latents):
    """The run that nothing ever happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train_in(folder, make_spec(), latents) == 0
    return folder


def at_step(monkeypatch, step, action):
    """Do something right after this step."""
    advance = Trainer.advance

    def advance_and_act(self):
        advance(self)
        if self.step == step:
            action()

    monkeypatch.setattr(Trainer, "advance", advance_and_act)


def outcome(folder):
    return json.loads((folder / "trained.json").read_text())


def log(folder):
    """Lines of train.log without date and name."""
    return [line.split(": ", 1)[1] for line in (folder / "train.log").read_text().splitlines()]


# What a run leaves


def test_a_run_leaves_what_the_other_stages_read(whole, latents):
    assert json.loads((whole / "spec.json").read_text()) == make_spec()
    assert [step for step, _ in list_checkpoints(whole / "checkpoints")] == [8, 12]
    snapshots = [(snapshot.step, snapshot.width) for snapshot in list_snapshots(whole / "snapshots")]
    assert snapshots == [(4, 0.05), (4, 0.1), (8, 0.05), (8, 0.1), (12, 0.05), (12, 0.1), (12, None)]
    assert [row["step"] for row in rows(whole)] == ["5", "10", "12"]
    done = outcome(whole)
    expected = {"run": "tiny-E", "status": "trained", "step": 12, "steps": 12, "device": "cpu", "threads": 1}
    assert {key: done[key] for key in expected} == expected
    assert done["latents"] == Latents(latents).fingerprint
    assert done["versions"]["torch"] == torch.__version__.split("+")[0]
    assert done["images_per_second"] > 0 and done["peak_memory_mb"] > 10 and 0 < done["loss"] < 10
    assert log(whole)[0].startswith("starts: 12 steps of 8 images,")


def test_training_csv_says_what_the_machine_did_and_the_status(whole):
    header, *lines = (whole / "training.csv").read_text().splitlines()
    assert header == (
        "step,loss,simple,variational,loss_q1,loss_q2,loss_q3,loss_q4,grad_norm,lr,weight_norm,"
        "images_per_second,seconds,memory_mb,status"
    )
    assert [line.split(",")[-1] for line in lines] == ["training", "training", "trained"]
    for line in lines:
        values = [float(value) for value in line.split(",")[:-1]]
        assert values[1] == pytest.approx(values[2] + values[3], rel=1e-5)
        assert all(math.isfinite(value) for value in values)


def test_the_model_is_the_first_average_renormalised(tmp_path, latents):
    assert train_in(tmp_path, make_spec(lr=0.1), latents) == 0
    model = mpdit.DiT.from_pretrained(tmp_path)
    average = load_file(tmp_path / "snapshots" / "step-00000012-width-0.050.safetensors")
    matrices = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.ndim == 2}
    for name, parameter in matrices.items():
        assert (average[name].norm(dim=-1) - 1).abs().max() > 5e-5  # averages of unit rows are shorter
        assert (parameter.norm(dim=-1) - 1).abs().max() < 1e-6
        torch.testing.assert_close(parameter, nn.functional.normalize(average[name], dim=-1))
    gains = {name: parameter.detach() for name, parameter in model.named_parameters() if name not in matrices}
    assert gains and all(torch.equal(average[name], parameter) for name, parameter in gains.items())


def test_plain_weights_are_the_checkpoint_s(whole):
    plain = load_file(whole / "snapshots" / "step-00000012-plain.safetensors")
    state = load_file(whole / "checkpoints" / "step-00000012.safetensors")
    assert plain and all(torch.equal(tensor, state[f"model/{name}"]) for name, tensor in plain.items())


# Against a plain loop


@pytest.mark.parametrize("config", ["A", "E"])
@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_loop_is_adam_on_the_hybrid_loss(tmp_path, config, clip):
    """A run equals the loop anybody would write, draws and all; E's in the textbook form of forced normalisation."""
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
        loss = sum(diffusion.losses(model(x_t, t, y), x0, x_t, noise, t)).mean()
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


def test_forced_rows_stay_on_the_sphere(whole):
    state = load_file(whole / "checkpoints" / "step-00000012.safetensors")
    for name, weight in state.items():
        if name.startswith("model/") and weight.ndim == 2:
            norms = torch.linalg.vector_norm(weight, dim=-1)
            torch.testing.assert_close(norms, torch.ones_like(norms))


class NoWaiting(TorchDispatchMode):
    """Refuses every operation that makes the host wait for a device: reading a value, or a size that depends on one."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        assert function not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        ), function
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("config", ["A", "C", "E"])
def test_no_step_waits_for_the_device(latents, config, monkeypatch):
    trainer = Trainer(make_spec(config, gradient_clip=1.0), Latents(latents), Ranks(0, 1, torch.device("cpu")))
    trainer.advance()
    for name in ("tolist", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor: pytest.fail("the host waits for the device"))
    with NoWaiting():
        trainer.advance()
        trainer.advance()
        with pytest.raises(AssertionError):
            bool(trainer.loss_sums.diverged_at)


@pytest.mark.slow
def test_compiled_training_is_training(tmp_path, latents, whole, monkeypatch):
    """All but the code generator, which takes minutes on a CPU: the step is captured and replayed as graphs."""
    compiled = []

    def compile(function, mode=None):
        compiled.append(function)
        return torch_compile(function, backend="aot_eager", fullgraph=True)

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile)
    assert train_in(tmp_path, make_spec(), latents, compile=True) == 0
    assert len(compiled) == 3  # the loss, the projection, the renormalisation
    for ours, eager in zip(rows(tmp_path), rows(whole), strict=True):
        assert {key: float(value) for key, value in ours.items()} == pytest.approx(
            {key: float(value) for key, value in eager.items()}, rel=1e-4
        )


def test_bfloat16_is_an_autocast_of_the_model_alone(tmp_path, latents, whole):
    assert train_in(tmp_path, make_spec(precision="bfloat16"), latents) == 0
    state = load_file(tmp_path / "checkpoints" / "step-00000012.safetensors")
    assert {str(tensor.dtype) for name, tensor in state.items() if not name.startswith("tally/")} == {"torch.float32"}
    ours, exact = (float(rows(folder)[-1]["loss"]) for folder in (tmp_path, whole))
    assert ours != exact and ours == pytest.approx(exact, rel=0.02)


# Going on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_bits(tmp_path, latents, whole, monkeypatch, number):
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda: os.kill(os.getpid(), number))
        assert train_in(tmp_path, make_spec(), latents) == STATUS == 75
    assert list_checkpoints(tmp_path / "checkpoints")[-1][0] == 7
    assert not (tmp_path / "trained.json").exists()
    assert log(tmp_path)[-1] == f"stops: {signal.Signals(number).name} received; step 7 is saved"
    assert train_in(tmp_path, make_spec(), latents, lock_wait=0) == 0
    assert any(line.startswith("continues from step 7 of 12 steps") for line in log(tmp_path))
    assert_same_run(tmp_path, whole)


def test_rows_past_the_checkpoint_are_dropped(tmp_path, latents, whole, monkeypatch):
    class Killed(BaseException):
        pass

    def die():
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_step(patch, 11, die)
        train_in(tmp_path, make_spec(), latents, checkpoint_every=8)
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    with open(tmp_path / "training.csv", "a") as file:
        file.write("11,0.5,0.")  # a line cut short
    remains = tmp_path / "checkpoints" / ".step-00000011.4711.part.safetensors"
    remains.write_bytes(b"half")
    assert train_in(tmp_path, make_spec(), latents) == 0
    assert not remains.exists()
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_newest_checkpoint_costs_only_itself(tmp_path, latents, whole, damage):
    shutil.copytree(whole, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000012.safetensors"
    content = bytearray(newest.read_bytes())
    content = content[: len(content) // 2] if damage == "truncated" else content
    content[len(content) // 3] ^= 1
    newest.write_bytes(content)
    assert train_in(tmp_path / "run", make_spec(), latents) == 0
    said = log(tmp_path / "run")
    assert sum("damaged checkpoint" in line and str(newest) in line for line in said) == 1
    assert any(line.startswith("continues from step 8") for line in said)
    assert_same_run(tmp_path / "run", whole)


def test_raising_the_steps_goes_on_to_what_one_long_run_gives(tmp_path, latents, whole):
    assert train_in(tmp_path, make_spec(steps=7), latents) == 0
    assert train_in(tmp_path, make_spec(), latents) == 0
    state = load_file(tmp_path / "checkpoints" / "step-00000012.safetensors")
    expected = load_file(whole / "checkpoints" / "step-00000012.safetensors")
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert rows(tmp_path) == rows(whole)  # the last row of the short run is off the grid, and gone
    assert outcome(tmp_path)["steps"] == 12


def test_a_finished_run_is_not_trained_again(tmp_path, latents, whole, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "trained.json").unlink()
    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("a step was made"))
    assert train_in(tmp_path / "run", make_spec(), latents) == 0
    assert outcome(tmp_path / "run")["step"] == 12
    assert outcome(tmp_path / "run")["loss"] == outcome(whole)["loss"]
    assert_same_run(tmp_path / "run", whole)


def test_lowering_the_steps_undoes_nothing_and_says_so(tmp_path, latents, whole):
    shutil.copytree(whole, tmp_path / "run")
    assert train_in(tmp_path / "run", make_spec(steps=10), latents) == 0
    line = "steps were lowered to 10, but 12 are done already: the run stays at step 12"
    assert line in log(tmp_path / "run")
    done = outcome(tmp_path / "run")
    assert (done["status"], done["step"], done["steps"]) == ("trained", 12, 10)


def test_another_spec_is_refused_in_one_line(whole, latents):
    with pytest.raises(UserError) as error:
        train_in(whole, make_spec(batch_size=16), latents)
    assert "training.batch_size is 8 in this checkpoint, but 16 in the spec" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_latents_are_refused_in_one_line(tmp_path, whole):
    other = write_latents(tmp_path / "latents", count=51, posterior=True)
    with pytest.raises(
        UserError, match="trained on latents 000000000000, but resumed with latents 000000000000:"
    ) as error:
        train_in(whole, make_spec(), other)
    assert "\n" not in str(error.value)


# Divergence


def test_divergence_is_a_result(tmp_path, latents):
    spec = make_spec("A", lr=1e36, steps=40)
    assert train_in(tmp_path / "a", spec, latents, log_every=5, checkpoint_every=1) == 0
    done = outcome(tmp_path / "a")
    assert done["status"] == "diverged" and done["loss"] is None
    step = done["step"]
    assert 1 <= step < 40
    assert list_checkpoints(tmp_path / "a" / "checkpoints")[-1][0] == step - 1
    for _, path in list_checkpoints(tmp_path / "a" / "checkpoints"):
        assert all(tensor.isfinite().all() for name, tensor in load_file(path).items() if name.startswith("model/"))
    assert all(s.step < step for s in list_snapshots(tmp_path / "a" / "snapshots"))
    last = (tmp_path / "a" / "training.csv").read_text().splitlines()[-1].split(",")
    assert (last[0], last[-1]) == (str(step), "diverged")
    assert f"diverged at step {step}, loss" in log(tmp_path / "a")[-1]
    # When somebody looks changes nothing, and neither does a second try.
    assert train_in(tmp_path / "b", spec, latents, log_every=20, checkpoint_every=None) == 0
    assert train_in(tmp_path / "a", spec, latents) == 0
    assert outcome(tmp_path / "a")["step"] == outcome(tmp_path / "b")["step"] == step


# A full disk


def test_a_full_disk_costs_a_checkpoint_and_says_so(tmp_path, latents, whole, monkeypatch):
    save = run_folder.save_checkpoint

    def save_on_small_disk(folder, step, tensors, metadata):
        if step != 8:
            return save(folder, step, tensors, metadata)
        with largest_file(4096):
            return save(folder, step, tensors, metadata)

    monkeypatch.setattr(run_folder, "save_checkpoint", save_on_small_disk)
    assert train_in(tmp_path, make_spec(), latents) == 0
    assert "checkpoint of step 8 not saved (File too large): the one of step 4 is kept" in log(tmp_path)
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints")] == [4, 12]
    assert_same_run(tmp_path, whole)


def test_where_a_snapshot_cannot_be_written_the_run_stops_and_a_second_try_ends_it(
    tmp_path, latents, whole, monkeypatch
):
    full = ExitStack()
    with full, monkeypatch.context() as patch:
        at_step(patch, 6, lambda: full.enter_context(largest_file(4096)))
        assert train_in(tmp_path, make_spec(), latents) == 1
    assert not (tmp_path / "trained.json").exists()
    assert log(tmp_path)[-1].startswith("stops: File too large; run it again to continue")
    assert list_checkpoints(tmp_path / "checkpoints")[-1][0] == 4
    assert train_in(tmp_path, make_spec(), latents) == 0
    assert_same_run(tmp_path, whole)


def test_where_the_last_checkpoint_cannot_be_written_the_run_fails(tmp_path, latents, whole, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000012.safetensors"
    newest.unlink()

    def save(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mpdit.training.run_folder.save_checkpoint", save)
    assert train_in(tmp_path / "run", make_spec(), latents) == 1
    lines = log(tmp_path / "run")
    assert lines[-2] == "checkpoint of step 12 not saved (No space left on device): the one of step 8 is kept"
    assert lines[-1] == "stops: the last step could not be saved; run it again to continue from step 8"
    assert not (tmp_path / "run" / "trained.json").exists()


# The command


def test_a_closed_terminal_does_not_stop_a_run(tmp_path, latents, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert train_in(tmp_path, make_spec(), latents, log_every=1) == 0
    assert log(tmp_path)[-1].startswith("trained: step 12")


def test_a_trainer_whose_snakemake_has_died_saves_and_leaves(tmp_path, latents):
    """A shell stands between the two, and outlives the one that is killed."""
    words = command(tmp_path / "run", make_spec(steps=1_000_000, snapshots=1), latents)
    script = tmp_path / "snakemake"
    script.write_text(f"sh -c '{' '.join(words)}; true'; true")
    snakemake = subprocess.Popen(["sh", script], env=environment(), stdout=subprocess.DEVNULL)
    journal = tmp_path / "run" / "train.log"
    wait_for(lambda: journal.exists() and "step" in journal.read_text(), 60)
    snakemake.kill()
    snakemake.wait()
    wait_for(lambda: "the Snakemake that started this process has died" in journal.read_text(), 10)
    assert list_checkpoints(tmp_path / "run" / "checkpoints")


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "--device: cuda: torch finds no CUDA device"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(tmp_path, latents, options, message):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match=message):
        train_in(tmp_path, make_spec(), latents, **options)


def test_a_spec_without_a_field_is_told_in_one_line(tmp_path, capsys):
    from mpdit.__main__ import main

    spec = make_spec()
    del spec["lr"]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments = ["train", str(tmp_path / "spec.json"), "--latents", "x", "--output", str(tmp_path / "trained.json")]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert (
        said == f"mpdit train: {tmp_path}/spec.json: missing field 'lr': must be a spec.json that the workflow wrote\n"
    )
