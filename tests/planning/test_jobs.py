"""The jobs of a study: what blocks share counts once, and what is done is not counted again."""

import json

import pytest
from helpers.made_up_runs import outcome
from helpers.workloads import SMALL_STUDY, finish_run, run_of, workload_of

from mpdit.experiment.grid import Experiment
from mpdit.planning import sizes
from mpdit.planning.jobs import Job, finished_steps


def test_shared_runs_and_samples_count_in_the_first_block(tmp_path):
    workload = workload_of(tmp_path)
    assert [share.runs for share in workload.shares] == [2, 2]
    assert [share.jobs["train"].all for share in workload.shares] == [2, 1]
    assert [share.jobs["sample"].all for share in workload.shares] == [2, 3]  # E's second seed, scale's two
    assert workload.disk.samples == 5 * sizes.samples_bytes(20, 8)
    assert workload.disk.latents == sizes.latents_bytes(5000, (1, 8, 8), pixels=True, posterior=False)
    assert workload.disk.total == sum(workload.disk.by_kind().values())


def test_one_block_alone_has_all_its_runs(tmp_path):
    (share,) = workload_of(tmp_path, blocks=["table2"]).shares
    assert (share.jobs["train"].all, share.jobs["sample"].all) == (2, 4)


def test_held_out_losses_are_planned_where_pictures_are_held_out(tmp_path):
    assert [jobs.all for rule in ("heldout", "encode_heldout") for jobs in workload_of(tmp_path).jobs(rule)] == [0] * 3
    configuration = SMALL_STUDY | {"data": SMALL_STUDY["data"] | {"holdout": 40}}
    workload = workload_of(tmp_path, configuration)
    assert (workload.data.images, workload.data.heldout_images) == (4600, 400)
    assert workload.disk.latents == sizes.latents_bytes(5000, (1, 8, 8), pixels=True, posterior=False)
    (encoding,), (first, second) = workload.jobs("encode_heldout"), workload.jobs("heldout")
    assert (encoding.all, first.all, second.all) == (1, 2, 1)
    flops = workload.size(run_of(workload, "A")).flops
    assert first.to_do[0] == Job("DiT-Nano/4", flops * 32 * (3 * 400 + 3 * 600))  # 3 earlier snapshots; 2 EMAs, plain
    folder = finish_run(run_of(workload, "A"), tmp_path)
    (folder / "heldout.csv").touch()
    assert workload_of(tmp_path, configuration).jobs("heldout")[0].done == 1


def test_sampling_seeds_of_their_own_make_one_sample_per_run(tmp_path):
    configuration = SMALL_STUDY | {"sampling": SMALL_STUDY["sampling"] | {"seeds": "paired"}}
    block = SMALL_STUDY["experiments"]["table1"] | {"seed": [0, 1, 2]}
    (share,) = workload_of(tmp_path, configuration | {"experiments": {"table1": block}}).shares
    assert (share.jobs["train"].all, share.jobs["sample"].all) == (6, 6)


def test_finished_jobs_are_not_to_do(tmp_path):
    workload = workload_of(tmp_path)
    a, e = run_of(workload, "A"), run_of(workload, "E")
    folder = finish_run(a, tmp_path)
    (folder / "magnitudes.csv").touch()
    (protocol,) = workload.experiment.blocks["table1"].protocols
    (folder / "samples" / protocol.name).mkdir(parents=True)
    (folder / "samples" / protocol.name / "samples.npz").touch()
    checkpoints = tmp_path / "runs" / e.name / "checkpoints"
    checkpoints.mkdir(parents=True)
    for step in (30, 40):
        (checkpoints / f"step-{step:08}.safetensors").touch()
    workload = workload_of(tmp_path)
    share = workload.shares[0]
    train, flops = share.jobs["train"], workload.size(e).flops
    assert (train.all, train.done, share.begun) == (2, 1, 1)
    assert train.to_do == [Job("DiT-Nano/4", 3 * flops * 8 * 60)]
    done = {rule: share.jobs[rule].done for rule in ("sample", "score", "trace")}
    assert done == {"sample": 1, "score": 0, "trace": 1}


def test_each_shard_is_a_job(tmp_path):
    configuration = SMALL_STUDY | {"execution": {"device": "cpu", "shards": 4}}
    finished = tmp_path / "latents" / Experiment(configuration).data_name / "shards/2-of-4/finished"
    finished.parent.mkdir(parents=True)
    finished.touch()
    (shards,) = workload_of(tmp_path, configuration).jobs("encode_shard")
    assert (shards.all, shards.done) == (4, 1)


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({}, 100),
        ({"step": 60}, 0),  # `steps` was raised; there is no checkpoint
        ({"status": "diverged", "step": 60}, 100),  # a result, which stays
        ({"step": "x"}, 0),
    ],
)
def test_steps_that_need_not_be_trained_again(tmp_path, change, steps):
    (tmp_path / "trained.json").write_text(json.dumps(outcome("a-run") | change))
    assert finished_steps(tmp_path, 100) == steps


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_outcome_counts_as_none(tmp_path, text):
    (tmp_path / "trained.json").write_text(text)
    assert finished_steps(tmp_path, 100) == 0
