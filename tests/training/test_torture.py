"""A run that SIGKILL ends twenty times, often in the middle of writing a checkpoint, ends as if nothing had been."""

import multiprocessing
import random
import sys
import time

import pytest
import torch
from helpers.effort import EFFORT
from helpers.tiny_runs import assert_same_run, make_spec, train_in, write_latents

from mpdit.experiment.run_files import list_checkpoints

KILLS = 20 * min(EFFORT, 5)
STEPS = 20 * KILLS
SPEC = make_spec(steps=STEPS, snapshots=8)


def live(folder, latents, checkpoint_every):
    """The life of one trainer."""
    torch.set_num_threads(1)
    sys.exit(train_in(folder, SPEC, latents, checkpoint_every=checkpoint_every, log_every=7))


def born(context, *arguments):
    process = context.Process(target=live, args=arguments)
    process.start()
    return process


def wait_for(process, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.0005)


def parts(folder):
    return list((folder / "checkpoints").glob(".*.part*"))


def last_step(folder):
    return max((step for step, _ in list_checkpoints(folder / "checkpoints")), default=0)


@pytest.mark.slow
def test_twenty_kills_leave_no_trace(tmp_path):
    context = multiprocessing.get_context("forkserver")  # which imports torch once
    context.set_forkserver_preload(["mpdit.training.loop", "torch._dynamo"])
    latents = write_latents(tmp_path / "latents", posterior=True)
    whole, folder, journal = tmp_path / "whole", tmp_path / "killed", tmp_path / "killed" / "train.log"
    undisturbed = born(context, whole, latents, 100)
    undisturbed.join()
    draw = random.Random(0)
    half_written, reached = 0, [0]
    for kill in range(KILLS):
        process = born(context, folder, latents, 2)
        if kill % 4:  # else at any moment of the start, too
            wait_for(process, lambda: last_step(folder) > reached[-1])
        if kill % 2:
            wait_for(process, lambda: parts(folder))
        time.sleep(draw.uniform(0, (0.3, 0.003, 0.1, 0.003)[kill % 4]))
        assert process.is_alive(), "the run ended before it could be killed: it needs more steps"
        process.kill()
        process.join()
        half_written += bool(parts(folder))
        reached.append(last_step(folder))
    process = born(context, folder, latents, 100)
    process.join()
    assert (process.exitcode, undisturbed.exitcode) == (0, 0)
    assert half_written >= 3, "too few kills fell into the writing of a checkpoint"
    assert reached == sorted(reached) and len(set(reached)) > KILLS // 2  # what was done is kept
    assert f"continues from step {reached[-1]} of {STEPS} steps" in journal.read_text()
    assert not parts(folder)
    assert_same_run(folder, whole)
