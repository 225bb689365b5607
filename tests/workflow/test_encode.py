"""Encoding in the workflow: shards are jobs, run once; no change of `execution` encodes finished latents again."""

import io
import os
import signal
import subprocess
import time
import zipfile

import pytest
from helpers.projects import TINY, command, jobs, make_project, snakemake, write_config
from PIL import Image

from mpdit.data.encode import encode
from mpdit.data.latents import Latents
from mpdit.data.sources import open_source
from mpdit.experiment.grid import Experiment

GOAL = f"results/latents/{Experiment(TINY).data_name}/manifest.json"


def with_execution(**fields):
    return TINY | {"execution": TINY["execution"] | fields}


@pytest.mark.slow
def test_shards_are_jobs_whose_merged_latents_are_not_made_again(tmp_path):
    project = make_project(tmp_path / "project", with_execution(shards=3, encode_workers=1))
    snakemake(project, GOAL)
    data = Experiment(TINY).data
    source = open_source(data.model_copy(update={"path": str(project / "digits.zip")}))
    whole = encode(source, data, tmp_path / "whole")
    assert Latents((project / GOAL).parent).manifest == whole
    assert not (project / GOAL).with_name("shards").exists()
    write_config(project, with_execution(shards=5, encode_workers=2))
    assert not {"index", "encode_shard", "encode"} & set(jobs(project, "results/table1.csv"))
    (project / GOAL).unlink()
    assert jobs(project, GOAL) == {"index": 1, "encode_shard": 5, "encode": 1}


@pytest.mark.slow
def test_after_a_killed_workflow_no_finished_shard_is_encoded_again(tmp_path):
    """Only Snakemake is killed, during the second shard; the job then ends on its own, and only the rest is encoded."""
    project = make_project(tmp_path / "project", with_execution(shards=3))
    picture = io.BytesIO()
    Image.linear_gradient("L").resize((900, 900)).convert("RGB").save(picture, "png")
    with zipfile.ZipFile(project / "digits.zip", "w") as archive:
        for index in range(900):
            archive.writestr(f"{index % 2}/{index:04}.png", picture.getvalue())
    one_by_one = [word if word != "2" else "1" for word in command(GOAL)]  # --cores 1
    process = subprocess.Popen(one_by_one, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shards = (project / GOAL).with_name("shards")
    deadline = time.monotonic() + 120
    while not (list(shards.glob("*/finished")) and list(shards.glob("*/.mean.npy.part"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    manifests = {path: path.stat().st_mtime_ns for path in shards.glob("*/manifest.json")}
    assert 1 <= len(manifests) <= 2 and not (project / GOAL).exists()
    while list(shards.glob("*/.mean.npy.part")):  # until the orphaned job has ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {path: path.stat().st_mtime_ns for path in manifests} == manifests

    snakemake(project, "--unlock")
    assert jobs(project, GOAL)["encode_shard"] <= 3 - len(list(shards.glob("*/finished")))
    others = [str((shards / f"{shard}-of-3/finished").relative_to(project)) for shard in (1, 2, 3)]
    snakemake(project, *others)
    assert {path: path.stat().st_mtime_ns for path in manifests} == manifests
    assert len(list(shards.glob("*/manifest.json"))) == 3
    # A job that finished before Snakemake could record it finds its shard finished.
    (shards / "1-of-3/finished").unlink()
    before = {path: path.stat().st_mtime_ns for path in shards.glob("*/manifest.json")}
    done = snakemake(project, GOAL.replace("manifest.json", "shards/1-of-3/finished"))
    assert "encode: shard 1 of 3 was finished before" in done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in shards.glob("*/manifest.json")} == before
