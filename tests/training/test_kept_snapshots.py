"""A snapshot that is gone or damaged is written again from a checkpoint, or refused: never approximated."""

import re
import shutil

import pytest
import torch
from helpers.damage import flip_bit, rewrite_json
from helpers.tiny_runs import make_spec, read_outcome
from safetensors.torch import load_file

from mpdit.experiment.snapshot_files import snapshot_at
from mpdit.system.errors import UserError
from mpdit.training.kept_snapshots import KeptSnapshots


@pytest.fixture
def run(uninterrupted, tmp_path):
    """A copy of a trained run: snapshots at 4, 8 and 12 in widths 0.05 and 0.1, checkpoints of 8 and 12."""
    return shutil.copytree(uninterrupted, tmp_path / "runs" / make_spec().name)


def file(run, step, width):
    return snapshot_at(run / "snapshots", step, width).path


def weights(run, width, step, lines=None):
    report = (lambda _: None) if lines is None else lines.append
    return KeptSnapshots(run, make_spec(), read_outcome(run), report).weights(width, step)


def lose(path):
    path.unlink()


def swap(path):
    shutil.copy(file(path.parents[1], 4, 0.1), path)


@pytest.mark.parametrize("damage", [lose, flip_bit, swap])
@pytest.mark.parametrize(("width", "step"), [(0.05, 12), (0.1, 8), (None, 12)])
def test_what_a_checkpoint_holds_is_written_again_as_it_was(run, uninterrupted, damage, width, step):
    path, lines = file(run, step, width), []
    damage(path)
    tensors, residual = weights(run, width, step, lines)
    assert residual == 0
    original, again = load_file(file(uninterrupted, step, width)), load_file(path)
    assert original.keys() == again.keys() == tensors.keys()
    assert all(torch.equal(original[name], again[name]) and torch.equal(again[name], tensors[name]) for name in again)
    assert len(lines) == 1 and lines[0].startswith(f"{path}: ")
    assert lines[0].endswith(f": written again from {run}/checkpoints/step-{step:08d}.safetensors")


@pytest.mark.parametrize("damage", [lose, flip_bit, swap])
def test_what_no_checkpoint_holds_is_one_line_that_says_what_is_left(run, damage):
    path = file(run, 4, 0.05)
    damage(path)
    with pytest.raises(UserError) as error:
        weights(run, 0.05, 4)
    message = str(error.value)
    damages = "no such file|its content does not .*|holds the model of .*"
    remedy = rf"restore it from a copy, or train the run again: delete results/runs/{run.name} and run `snakemake .*`"
    assert re.match(rf"{path}: ({damages}), and no checkpoint holds it; {remedy}; ", message)
    assert message.endswith("; left are width 0.1 at this step, width 0.05 at 2 other steps (the last is 12)")
    assert "\n" not in message


@pytest.mark.parametrize("recorded", [True, False])
def test_a_tracked_width_is_never_approximated_and_no_fit_leaves_one_out(run, recorded):
    if not recorded:  # as in version 0.1
        rewrite_json(run / "trained.json", snapshots=...)
    exact, _ = weights(run, 0.1, 8)
    _, residual = weights(run, 0.08, 12)
    assert residual > 0
    shutil.rmtree(run / "checkpoints")
    file(run, 4, 0.05).unlink()
    with pytest.raises(UserError, match=re.escape("step-00000004-width-0.050.safetensors: no such file, and no")):
        weights(run, 0.08, 12)
    file(run, 12, 0.1).unlink()
    with pytest.raises(UserError, match=re.escape("step-00000012-width-0.100.safetensors: no such file, and no")):
        weights(run, 0.1, 12)
    assert all(torch.equal(exact[name], tensor) for name, tensor in weights(run, 0.1, 8)[0].items())


def test_the_steps_are_those_that_were_stored_even_if_a_file_is_gone(run):
    for width in (0.05, 0.1):
        file(run, 8, width).unlink()
    kept = KeptSnapshots(run, make_spec(), read_outcome(run))
    assert kept.steps(0.05) == [4, 8, 12] and kept.steps(0.3) == []


def test_a_checkpoint_of_another_run_or_a_damaged_one_restores_nothing(run):
    file(run, 12, 0.05).unlink()
    flip_bit(run / "checkpoints" / "step-00000012.safetensors")
    with pytest.raises(UserError, match="no checkpoint holds it"):
        weights(run, 0.05, 12)
