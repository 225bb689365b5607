"""The workflow end to end on real digits and real features, and what makes it train again (little) or not (much)."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.projects import STEPS, TINY, command, jobs, make_project, runs, snakemake, write_config
from PIL import Image
from safetensors.numpy import load_file

from mpdit import paper

# Runs a command and prints the largest resident set of any process under it, in KiB.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Path, float]:
    """A project whose Table 1 is there, and the peak memory in bytes of the job that needed most."""
    project = make_project(tmp_path_factory.mktemp("project"))
    whole = [sys.executable, "-c", MEASURED, *command("results/table1.csv")]
    done = subprocess.run(whole, cwd=project, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return project, 1024 * int(done.stdout.splitlines()[-1])


@pytest.fixture
def finished(measured) -> Path:
    return measured[0]


def test_no_job_needs_two_gigabytes(measured):
    assert measured[1] < 2e9


def test_table1_has_a_row_a_letter_with_its_protocol(finished):
    table = pd.read_csv(finished / "results/table1.csv")
    assert {"A", "E"} <= set(table["config"])
    assert all((finished / "results/table1").with_suffix(suffix).stat().st_size for suffix in (".md", ".tex"))
    fid = pd.read_csv(finished / "results/experiments/table1/fid.csv")
    assert len(fid) == 2
    assert set(fid["features"]) == {"efficientnet-lite0"}
    assert np.isfinite(fid[["fid", "kid", "fid_floor", "kid_floor"]].to_numpy(float)).all()
    assert set(fid["count"]) == {40}


def test_images_and_their_pictures_are_there(finished):
    for run in runs(finished).values():
        (samples,) = run.glob("samples/*/samples.npz")
        with np.load(samples) as archive:
            assert archive["arr_0"].shape == (40, 8, 8, 3)
            assert archive["arr_0"].dtype == np.uint8
            assert np.bincount(archive["labels"]).tolist() == [4] * 10
        with Image.open(samples.with_name("grid.png")) as grid:
            assert min(grid.size) > 4 * 8  # four rows of pictures, enlarged
    figures = finished / "results/figures"
    assert list(figures.glob("*.png")), "no figure beside the table"


def test_nothing_is_to_be_done_again(finished):
    assert jobs(finished, "results/table1.csv") == {}


def test_deleted_tables_come_back_without_training(finished, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    for made in project.glob("results/table1.*"):
        made.unlink()
    shutil.rmtree(project / "results/figures")
    assert not {"train", "sample", "score", "trace"} & set(jobs(project, "results/table1.csv"))
    snakemake(project, "results/table1.csv")
    assert (project / "results/table1.csv").read_text() == (finished / "results/table1.csv").read_text()


def test_another_seed_trains_only_its_own_runs(finished):
    config = json.loads(json.dumps(TINY))
    config["experiments"]["table1"]["seed"] = [0, 1]
    write_config(finished, config)
    try:
        planned = jobs(finished, "results/table1.csv")
    finally:
        write_config(finished, TINY)
    assert (planned["train"], planned["sample"]) == (2, 2)


def test_another_rate_of_e_trains_only_e(finished):
    config = json.loads(json.dumps(TINY))
    config["learning_rates"]["E"] = 1e-2
    write_config(finished, config)
    try:
        dry = snakemake(finished, "--dry-run", "results/table1.csv").stdout
    finally:
        write_config(finished, TINY)
    trained = re.findall(r"output: results/runs/(\S+)/trained.json", dry)
    assert len(trained) == 1
    assert "-E-" in trained[0]


@pytest.mark.slow
def test_another_reference_scores_anew_and_keeps_the_old_scores(finished, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    (reference,) = (project / "results/reference").glob("*.npz")
    with np.load(reference) as made:
        np.savez(project / "published.npz", mu=made["mu"], sigma=made["sigma"])
    config = json.loads(json.dumps(TINY))
    config["scoring"]["reference"] = "published.npz"
    write_config(project, config)
    planned = jobs(project, "results/table1.csv")
    assert (planned["reference"], planned["score"]) == (1, 2) and not {"train", "sample"} & set(planned)
    snakemake(project, "results/table1.csv")
    table, before = (pd.read_csv(folder / "results/table1.csv") for folder in (project, finished))
    assert table["fid_mean"].tolist() == pytest.approx(before["fid_mean"].tolist(), rel=1e-9)
    assert set(table["reference"]) == {"published.npz"} and table["kid_mean"].isna().all()
    assert len(list(project.glob("results/runs/*/samples/*/fid-*.csv"))) == 4
    (project / "published.npz").touch()
    assert jobs(project, "results/table1.csv")["score"] == 2  # other statistics may be in it now


def test_edited_sources_retrain_nothing(finished):
    for source in [*finished.glob("mpdit/**/*.py"), *finished.glob("workflow/**/*.smk"), finished / "Snakefile"]:
        source.write_text(source.read_text() + "\n# an edit\n")
    rule = finished / "workflow/rules/train.smk"
    rule.write_text(rule.read_text().replace("--latents", " --latents"))
    (finished / "digits.zip").touch()
    assert jobs(finished, "results/table1.csv") == {}


def test_more_steps_continue_every_run(finished, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    config = json.loads(json.dumps(TINY))
    config["training"]["steps"] = 2 * STEPS
    write_config(project, config)
    assert jobs(project, "results/table1.csv")["train"] == 2
    run = runs(project)["E"]
    snakemake(project, str((run / "trained.json").relative_to(project)))
    assert f"continues from step {STEPS}" in (run / "train.log").read_text()
    assert json.loads((run / "trained.json").read_text())["step"] == 2 * STEPS
    steps = pd.read_csv(run / "training.csv")["step"]
    assert steps.is_monotonic_increasing
    assert steps.iloc[-1] == 2 * STEPS


def test_a_new_block_leaves_the_figures_of_others_alone(finished):
    config = json.loads(json.dumps(TINY))
    config["experiments"]["table2"] = {**TINY["experiments"]["table1"], "config": "E", "seed": [0, 1]}
    write_config(finished, config)
    try:
        dry = snakemake(finished, "--dry-run", "figures", "results/experiments/table2/runs.csv").stdout
    finally:
        write_config(finished, TINY)
    assert len(re.findall(r"output: results/runs/\S+/trained.json", dry)) == 1
    drawn = re.findall(r"output: results/figures/(\w+).png", dry)
    assert not {name for name in drawn if "table1" in paper.ARTEFACTS[name].experiments}, dry


def test_snakemakes_own_report_shows_tables_and_figures_with_captions(finished):
    snakemake(finished, "results/table1.csv", "--report", "report.html")
    shown = (finished / "report.html").read_text()
    for name in ("table1", "loss", "samples"):
        assert paper.ARTEFACTS[name].caption.split(",")[0].split(" (")[0] in shown
    assert '"Tables"' in shown
    assert '"Figures"' in shown


def test_interim_runs_beside_another_snakemake_and_leaves_its_locks(finished):
    lock = finished / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/runs.csv\n")
    try:
        done = snakemake(finished, "interim", check=False)
        assert done.returncode != 0
        assert done.stderr.splitlines()[-1].endswith("would lose its lock: must be run with --nolock")
        snakemake(finished, "--nolock", "interim")
        assert lock.read_text() == "results/runs.csv\n"
    finally:
        shutil.rmtree(lock.parent)
    made = finished / "results/interim"
    assert "Interim, 20" in (made / "report.html").read_text()
    assert pd.read_csv(made / "table1.csv").equals(pd.read_csv(finished / "results/table1.csv"))


def test_an_imported_run_is_trained_sampled_scored_and_traced_no_more(finished, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    here = runs(project)["E"]
    elsewhere = shutil.copytree(here, tmp_path / here.name)
    for path in sorted(elsewhere.rglob("*"), reverse=True):
        os.utime(path)  # as copies without their times
    shutil.rmtree(here)
    aggregated = "results/experiments/table1/runs.csv"
    (project / aggregated).unlink()
    assert jobs(project, aggregated)["train"] == 1
    subprocess.run([sys.executable, "-m", "mpdit", "import", str(elsewhere)], cwd=project, check=True)
    assert jobs(project, aggregated) == {"aggregate": 1}


def test_all_makes_the_aggregates_of_every_block(finished, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    snakemake(project)
    table = pd.read_csv(project / "results/runs.csv")
    assert sorted(table["config"]) == ["A", "E"]
    assert set(table["status"]) == {"trained"}
    assert "2 runs: 2 trained" in (project / "results/report.html").read_text()


def test_a_mistake_in_the_configuration_is_one_line(finished):
    write_config(finished, TINY | {"training": {"stepz": 3}})
    try:
        done = snakemake(finished, "--dry-run", check=False)
    finally:
        write_config(finished, TINY)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("config.yaml: training: unknown key 'stepz', must be one of steps")


def test_configfile_replaces_the_default_whole(finished):
    other = json.loads(json.dumps(TINY))
    other["experiments"] = {"table1": {**TINY["experiments"]["table1"], "config": "B"}}
    (finished / "other.yaml").write_text(yaml.safe_dump(other))
    dry = snakemake(finished, "--dry-run", "results/table1.csv", "--configfile", "other.yaml").stdout
    trained = re.findall(r"output: results/runs/(\S+)/trained.json", dry)
    assert len(trained) == 1
    assert "-B-" in trained[0]


@pytest.mark.slow
def test_another_complete_file_makes_the_same_target_from_cifar10(shared_data, tmp_path):
    project = make_project(tmp_path)
    with (
        zipfile.ZipFile(shared_data / "cifar10-train.zip") as whole,
        zipfile.ZipFile(project / "some.zip", "w") as some,
    ):
        for name in sorted(whole.namelist()):
            if re.fullmatch(r".*000\d\.jpg", name):
                some.writestr(name, whole.read(name))
    cifar = json.loads(json.dumps(TINY))
    cifar["data"] = {"name": "cifar", "source": "zip", "path": "some.zip", "resolution": 32}
    cifar["training"] |= {"steps": 8, "snapshots": 2}
    cifar["sampling"] = {"sampler": "ddim", "steps": 2, "count": 20, "ema_width": 0.1}
    cifar["experiments"]["table1"] |= {"model": "DiT-Nano/8", "config": "E", "modulation": "scale_rotate"}
    (project / "cifar.yaml").write_text(yaml.safe_dump(cifar))
    snakemake(project, "results/table1.csv", "--configfile", "cifar.yaml")
    (row,) = pd.read_csv(project / "results/experiments/table1/fid.csv").to_dict("records")
    assert (row["data"], row["sampler"], row["count"], row["modulation"]) == ("cifar", "ddim", 20, "scale_rotate")
    (manifest,) = (project / "results/latents").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["shape"] == [3, 32, 32]


@pytest.mark.slow
def test_killed_workflow_continues_and_ends_bit_identical(tmp_path):
    config = json.loads(json.dumps(TINY))
    config["training"] |= {"steps": 600, "batch_size": 64}
    config["experiments"]["table1"]["config"] = "E"
    whole, killed = (make_project(tmp_path / name, config) for name in ("whole", "killed"))
    goal = None
    dry = snakemake(whole, "--dry-run", "results/table1.csv").stdout
    (goal,) = re.findall(r"output: (results/runs/\S+/trained.json)", dry)
    snakemake(whole, goal)

    process = subprocess.Popen(command(goal), cwd=killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = (killed / goal).parent / "checkpoints"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*.safetensors")):
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        assert process.poll() is None, "the workflow ended before it was killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / goal).exists()

    snakemake(killed, "--unlock")
    snakemake(killed, goal)
    log = (killed / goal).with_name("train.log").read_text()
    assert re.search(r"continues from step [1-9]", log)
    ours, theirs = (load_file((folder / goal).with_name("model.safetensors")) for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
