"""What a run leaves in its folder, and what happens when a file is damaged or cannot be written."""

import errno
import json
import math
import os
import shutil
from contextlib import ExitStack

import pytest
import torch
from helpers.damage import flip_bit
from helpers.limits import largest_file
from helpers.tiny_runs import (
    after_step,
    assert_same_run,
    log_lines,
    make_spec,
    read_outcome,
    rows,
    train_in,
)
from safetensors.torch import load_file
from torch import nn

import mpdit
from mpdit.data.latents import Latents
from mpdit.experiment.run_files import list_checkpoints
from mpdit.experiment.snapshot_files import list_snapshots
from mpdit.system.errors import UserError
from mpdit.system.seals import Inspection, inspect
from mpdit.training import run_folder
from mpdit.training.trainer import Trainer

# --- What a run leaves ---


def test_a_finished_run_has_all_files_that_later_stages_read(uninterrupted, latents):
    assert json.loads((uninterrupted / "spec.json").read_text()) == make_spec().to_json()
    assert [step for step, _ in list_checkpoints(uninterrupted / "checkpoints")] == [8, 12]
    snapshots = [(snapshot.step, snapshot.width) for snapshot in list_snapshots(uninterrupted / "snapshots")]
    assert snapshots == [(4, 0.05), (4, 0.1), (8, 0.05), (8, 0.1), (12, 0.05), (12, 0.1), (12, None)]
    assert [row["step"] for row in rows(uninterrupted)] == ["5", "10", "12"]
    done = read_outcome(uninterrupted)
    assert (done.run, done.status, done.step, done.steps) == (make_spec().name, "trained", 12, 12)
    assert (done.device, done.devices, done.threads) == ("cpu", 1, 1)
    assert done.latents == Latents(latents).fingerprint
    assert done.versions["torch"] == torch.__version__.split("+")[0]
    assert done.images_per_second > 0 and done.peak_memory_mb > 10 and 0 < done.loss < 10
    assert log_lines(uninterrupted)[0].startswith("starts: 12 steps of 8 images,")


def test_training_csv_has_finite_values_and_ends_with_the_status(uninterrupted):
    header, *lines = (uninterrupted / "training.csv").read_text().splitlines()
    assert header == (
        "step,loss,simple,variational,loss_q1,loss_q2,loss_q3,loss_q4,grad_norm,lr,weight_norm,"
        "images_per_second,seconds,memory_mb,status"
    )
    assert [line.split(",")[-1] for line in lines] == ["training", "training", "trained"]
    for line in lines:
        values = [float(value) for value in line.split(",")[:-1]]
        assert values[1] == pytest.approx(values[2] + values[3], rel=1e-5)
        assert all(math.isfinite(value) for value in values)


def test_the_exported_model_is_the_first_average_renormalized(tmp_path, latents):
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


def test_the_plain_snapshot_holds_the_weights_of_the_last_checkpoint(uninterrupted):
    plain = load_file(uninterrupted / "snapshots" / "step-00000012-plain.safetensors")
    state = load_file(uninterrupted / "checkpoints" / "step-00000012.safetensors")
    assert plain and all(torch.equal(tensor, state[f"model/{name}"]) for name, tensor in plain.items())


# --- Resuming ---


def test_rows_after_the_last_checkpoint_are_removed_on_resuming(tmp_path, latents, uninterrupted, monkeypatch):
    class Killed(BaseException):
        pass

    def die():
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        after_step(patch, 11, die)
        train_in(tmp_path, make_spec(), latents, checkpoint_every=8)
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    with open(tmp_path / "training.csv", "a") as file:
        file.write("11,0.5,0.")  # a line cut short by a kill
    partial = tmp_path / "checkpoints" / ".step-00000011.4711.part.safetensors"
    partial.write_bytes(b"half")
    assert train_in(tmp_path, make_spec(), latents) == 0
    assert not partial.exists()
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_training_resumes_from_the_checkpoint_before_a_damaged_one(tmp_path, latents, uninterrupted, damage):
    shutil.copytree(uninterrupted, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000012.safetensors"
    content = bytearray(newest.read_bytes())
    content = content[: len(content) // 2] if damage == "truncated" else content
    content[len(content) // 3] ^= 1
    newest.write_bytes(content)
    assert train_in(tmp_path / "run", make_spec(), latents) == 0
    messages = log_lines(tmp_path / "run")
    assert sum("damaged checkpoint" in line and str(newest) in line for line in messages) == 1
    assert any(line.startswith("continues from step 8") for line in messages)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_finished_run_is_not_trained_again(tmp_path, latents, uninterrupted, monkeypatch):
    shutil.copytree(uninterrupted, tmp_path / "run")
    (tmp_path / "run" / "trained.json").unlink()
    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("took a step"))
    assert train_in(tmp_path / "run", make_spec(), latents) == 0
    assert read_outcome(tmp_path / "run").step == 12
    assert read_outcome(tmp_path / "run").loss == read_outcome(uninterrupted).loss
    assert_same_run(tmp_path / "run", uninterrupted)


def test_lowering_the_steps_undoes_nothing_and_is_reported(tmp_path, latents, uninterrupted):
    shutil.copytree(uninterrupted, tmp_path / "run")
    assert train_in(tmp_path / "run", make_spec(steps=10), latents) == 0
    line = "steps were lowered to 10, but 12 are done already: the run stays at step 12"
    assert line in log_lines(tmp_path / "run")
    done = read_outcome(tmp_path / "run")
    assert (done.status, done.step, done.steps) == ("trained", 12, 10)


def test_a_finished_run_without_checkpoints_is_never_trained_from_the_start_for_more_steps(
    tmp_path, latents, uninterrupted
):
    run = shutil.copytree(uninterrupted, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    table = (run / "training.csv").read_bytes()
    line = "was trained to its end before, but has no checkpoint from which it could continue to step 24; ask for as"
    for name in ("nothing", "trained.json", "outcome.json"):  # of an earlier version there is no outcome.json
        (run / name).unlink(missing_ok=True)
        with pytest.raises(UserError, match=line):
            train_in(run, make_spec(steps=24), latents)
    assert (run / "training.csv").read_bytes() == table


# --- A full disk ---


def test_a_full_disk_costs_one_checkpoint_and_is_reported(tmp_path, latents, uninterrupted, monkeypatch):
    save = run_folder.save_checkpoint

    def save_on_small_disk(folder, step, tensors, metadata):
        if step != 8:
            return save(folder, step, tensors, metadata)
        with largest_file(4096):
            return save(folder, step, tensors, metadata)

    monkeypatch.setattr(run_folder, "save_checkpoint", save_on_small_disk)
    assert train_in(tmp_path, make_spec(), latents) == 0
    assert "checkpoint of step 8 not saved (File too large): the one of step 4 is kept" in log_lines(tmp_path)
    assert [step for step, _ in list_checkpoints(tmp_path / "checkpoints")] == [4, 12]
    assert_same_run(tmp_path, uninterrupted)


def test_a_snapshot_that_cannot_be_written_stops_the_run_until_it_is_started_again(
    tmp_path, latents, uninterrupted, monkeypatch
):
    full = ExitStack()
    with full, monkeypatch.context() as patch:
        after_step(patch, 6, lambda: full.enter_context(largest_file(4096)))
        assert train_in(tmp_path, make_spec(), latents) == 1
    assert not (tmp_path / "trained.json").exists()
    assert log_lines(tmp_path)[-1].startswith("stops: File too large; run it again to continue")
    assert list_checkpoints(tmp_path / "checkpoints")[-1][0] == 4
    assert train_in(tmp_path, make_spec(), latents) == 0
    assert_same_run(tmp_path, uninterrupted)


def test_a_run_whose_last_checkpoint_cannot_be_written_fails(tmp_path, latents, uninterrupted, monkeypatch):
    shutil.copytree(uninterrupted, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000012.safetensors"
    newest.unlink()

    def save(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mpdit.training.run_folder.save_checkpoint", save)
    assert train_in(tmp_path / "run", make_spec(), latents) == 1
    lines = log_lines(tmp_path / "run")
    assert lines[-2] == "checkpoint of step 12 not saved (No space left on device): the one of step 8 is kept"
    assert lines[-1] == "stops: the last step could not be saved; run it again to continue from step 8"
    assert not (tmp_path / "run" / "trained.json").exists()


# --- Seals ---


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_model_is_one_line_and_comes_back_from_the_last_checkpoint(tmp_path, latents, uninterrupted, name):
    run = shutil.copytree(uninterrupted, tmp_path / "runs" / make_spec().name)
    mpdit.DiT.from_pretrained(run)
    flip_bit(run / name, -5)
    message = f"{run / name}: damaged: its content .*; delete it and trained.json, then run `snakemake"
    with pytest.raises(UserError, match=message):
        mpdit.DiT.from_pretrained(run)
    for lost in (name, "trained.json"):
        (run / lost).unlink()
    assert train_in(run, make_spec(), latents) == 0
    mpdit.DiT.from_pretrained(run)
    assert_same_run(run, uninterrupted)


def test_the_last_snapshots_and_rows_come_back_from_the_last_checkpoint(tmp_path, latents, uninterrupted):
    run = shutil.copytree(uninterrupted, tmp_path / "run")
    for name in ("trained.json", "training.csv", "snapshots/step-00000012-width-0.100.safetensors"):
        (run / name).unlink()
    flip_bit(run / "snapshots" / "step-00000012-plain.safetensors")
    assert train_in(run, make_spec(), latents) == 0
    assert_same_run(run, uninterrupted)
    assert read_outcome(run).snapshots == read_outcome(uninterrupted).snapshots == (4, 8, 12)


def test_everything_in_a_trained_run_is_sealed(uninterrupted):
    unsealed = {"spec.json", "train.log", "lock"}  # a run's name seals its spec; logs are no results
    for path in uninterrupted.rglob("[!.]*"):
        if path.is_file() and path.name not in unsealed:
            assert inspect(path) == Inspection(sealed=True), path
