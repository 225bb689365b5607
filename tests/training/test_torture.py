"""A run killed twenty times, often while it writes a checkpoint, ends bit-identical to an uninterrupted one."""

import multiprocessing
import random
import time

import pytest
from helpers.effort import EFFORT
from helpers.tiny_runs import assert_same_run, make_spec, train_and_exit, write_latents

from mpdit.experiment.run_files import list_checkpoints

KILLS = 20 * min(EFFORT, 5)
STEPS = 20 * KILLS
SPEC = make_spec(steps=STEPS, snapshots=8)


def start(context, folder, latents, checkpoint_every):
    process = context.Process(target=train_and_exit, args=(folder, SPEC, latents, checkpoint_every))
    process.start()
    return process


def wait_for(process, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.0005)


def partial_files(folder):
    return list((folder / "checkpoints").glob(".*.part*"))


def last_step(folder):
    return max((step for step, _ in list_checkpoints(folder / "checkpoints")), default=0)


@pytest.mark.slow
def test_kills_at_any_moment_leave_no_trace(tmp_path):
    context = multiprocessing.get_context("forkserver")  # imports torch only once
    context.set_forkserver_preload(["mpdit.training.loop", "torch._dynamo"])
    latents = write_latents(tmp_path / "latents", posterior=True)
    uninterrupted, folder = tmp_path / "uninterrupted", tmp_path / "killed"
    reference = start(context, uninterrupted, latents, 100)
    reference.join()
    rng = random.Random(0)
    interrupted_writes, reached = 0, [0]
    for kill in range(KILLS):
        process = start(context, folder, latents, 2)
        if kill % 4:  # otherwise at any moment, even while it starts
            wait_for(process, lambda: last_step(folder) > reached[-1])
        if kill % 2:
            wait_for(process, lambda: partial_files(folder))
        time.sleep(rng.uniform(0, (0.3, 0.003, 0.1, 0.003)[kill % 4]))
        assert process.is_alive(), "the run ended before it could be killed: it needs more steps"
        process.kill()
        process.join()
        interrupted_writes += bool(partial_files(folder))
        reached.append(last_step(folder))
    process = start(context, folder, latents, 100)
    process.join()
    assert (process.exitcode, reference.exitcode) == (0, 0)
    assert interrupted_writes >= 3, "too few kills happened while a checkpoint was written"
    assert reached == sorted(reached) and len(set(reached)) > KILLS // 2  # no kill loses what was saved
    assert f"continues from step {reached[-1]} of {STEPS} steps" in (folder / "train.log").read_text()
    assert not partial_files(folder)
    assert_same_run(folder, uninterrupted)
