"""The workflow end to end on real digits and real features: what makes it train again (little) and what does not."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.projects import (
    STEPS,
    TINY,
    command,
    jobs,
    make_project,
    runs,
    snakemake,
    tiny_study,
    trained_runs,
    write_config,
)
from PIL import Image
from safetensors.numpy import load_file

from mpdit import paper  # noqa: F401  # registers its tables and figures
from mpdit.experiment.grid import Experiment
from mpdit.rendering.registry import ARTIFACTS

TABLE = "results/table1.csv"
BLOCK = TINY["experiments"]["table1"]


@pytest.fixture(scope="module")
def study(finished_study, tmp_path_factory) -> Path:
    """A copy of the finished study's project; each test leaves it as it was, but for what Snakemake itself adds."""
    return shutil.copytree(finished_study.project, tmp_path_factory.mktemp("study") / "project")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project in which nothing has been made; each test leaves it as it was."""
    return make_project(tmp_path_factory.mktemp("project"))


@contextmanager
def configured(project: Path, config: dict) -> Iterator[None]:
    """Within this context the project has this configuration, afterwards TINY again."""
    write_config(project, config)
    try:
        yield
    finally:
        write_config(project, TINY)


def test_no_job_needs_two_gigabytes(finished_study):
    assert finished_study.peak_memory < 2e9


def test_table1_has_one_row_per_config_with_its_protocol(study):
    table = pd.read_csv(study / TABLE)
    assert {"A", "E"} <= set(table["config"])
    assert all((study / TABLE).with_suffix(suffix).stat().st_size for suffix in (".md", ".tex"))
    fid = pd.read_csv(study / "results/experiments/table1/fid.csv")
    assert len(fid) == 2
    assert set(fid["features"]) == {"efficientnet-lite0"}
    assert np.isfinite(fid[["fid", "kid", "fid_floor", "kid_floor"]].to_numpy(float)).all()
    assert set(fid["count"]) == {40}


def test_images_and_a_grid_of_them_are_saved(study):
    for run in runs(study).values():
        (samples,) = run.glob("samples/*/samples.npz")
        with np.load(samples) as archive:
            assert archive["arr_0"].shape == (40, 8, 8, 3)
            assert archive["arr_0"].dtype == np.uint8
            assert np.bincount(archive["labels"]).tolist() == [4] * 10
        with Image.open(samples.with_name("grid.png")) as grid:
            assert min(grid.size) > 4 * 8  # four rows of pictures, enlarged
    assert list((study / "results/figures").glob("*.png")), "no figure beside the table"


def test_every_job_leaves_a_log(study):
    logs = study / "results/logs"
    assert {path.name for path in logs.iterdir()} >= {"encode", "reference", "train", "sample", "score", "trace"}
    for run in runs(study).values():
        printed = (logs / f"train/{run.name}.log").read_text().splitlines()
        kept = [line.split(maxsplit=2)[2] for line in (run / "train.log").read_text().splitlines()]  # without the time
        assert printed and set(printed) <= set(kept)


def test_step_times_are_measured_while_no_other_job_runs(study):
    """The job takes both cores of these runs of Snakemake."""
    logs = "".join(path.read_text() for path in (study / ".snakemake/log").glob("*.log"))
    assert set(re.findall(r"rule cost:$.*?^    threads: (\d+)$", logs, re.MULTILINE | re.DOTALL)) == {"2"}


def test_a_failed_job_shows_its_error_as_it_fails_and_its_log_at_the_end(project):
    intact = (project / "digits.zip").read_bytes()
    (project / "digits.zip").write_bytes(b"no zip")
    try:
        dry = snakemake(project, "--dry-run", TABLE).stdout
        (manifest,) = re.findall(r"output: (results/latents/\S+/manifest.json)", dry)
        done = snakemake(project, manifest, "--retries", "0", check=False)
    finally:
        (project / "digits.zip").write_bytes(intact)
    assert done.returncode != 0
    error = "mpdit encode: data.path: digits.zip: not a readable zip archive"
    printed, _, shown = done.stderr.partition("Logfile results/logs/encode/")
    assert error in printed and error in shown
    (log,) = (project / "results/logs/encode").iterdir()
    assert log.read_text().startswith(error) and len(log.read_text().splitlines()) == 1


def test_there_is_nothing_left_to_do(study):
    run = runs(study)["E"].relative_to(study)
    assert jobs(study, TABLE, str(run / "trained.json")) == {}


def test_deleted_tables_come_back_without_training(study, study_copy):
    for path in study_copy.glob("results/table1.*"):
        path.unlink()
    shutil.rmtree(study_copy / "results/figures")
    assert not {"train", "sample", "score", "trace"} & set(jobs(study_copy, TABLE))
    snakemake(study_copy, TABLE)
    assert (study_copy / TABLE).read_text() == (study / TABLE).read_text()


def test_another_seed_trains_only_its_own_runs(study):
    with configured(study, tiny_study(experiments={"table1": {**BLOCK, "seed": [0, 1]}})):
        planned = jobs(study, TABLE)
    assert (planned["train"], planned["sample"]) == (2, 2)


def test_latents_that_are_made_again_for_another_seed_train_no_finished_run_again(study_copy):
    shutil.rmtree(study_copy / "results/latents")
    for run in runs(study_copy).values():
        (run / "spec.json").touch()
    write_config(study_copy, tiny_study(experiments={"table1": {**BLOCK, "seed": [0, 1]}}))
    planned = jobs(study_copy, TABLE)
    assert [planned[rule] for rule in ("encode", "train", "sample", "score", "trace")] == [1, 2, 2, 2, 2]


def test_without_the_profile_an_edited_rule_retrains_nothing(study):
    done = snakemake(study, "--dry-run", TABLE, "--rerun-triggers", "mtime", "params", "input", "code", check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("rerun-triggers: code is among them, so an edited rule would train")


def test_another_learning_rate_of_e_trains_only_e(study):
    with configured(study, tiny_study(learning_rates={"E": 1e-2})):
        (run,) = trained_runs(snakemake(study, "--dry-run", TABLE).stdout)
    assert "-E-" in run


@pytest.mark.slow
def test_another_reference_scores_again_and_keeps_the_old_scores(study, study_copy):
    (reference,) = (study_copy / "results/reference").glob("*.npz")
    with np.load(reference) as statistics:
        np.savez(study_copy / "published.npz", mu=statistics["mu"], sigma=statistics["sigma"])
    write_config(study_copy, tiny_study(scoring={"reference": "published.npz"}))
    planned = jobs(study_copy, TABLE)
    assert (planned["reference"], planned["score"]) == (1, 2) and not {"train", "sample"} & set(planned)
    snakemake(study_copy, TABLE)
    table, before = (pd.read_csv(folder / TABLE) for folder in (study_copy, study))
    assert table["fid_mean"].tolist() == pytest.approx(before["fid_mean"].tolist(), rel=1e-9)
    assert set(table["reference"]) == {"published.npz"} and table["kid_mean"].isna().all()
    assert len(list(study_copy.glob("results/runs/*/samples/*/fid-*.csv"))) == 4
    (study_copy / "published.npz").touch()
    assert jobs(study_copy, TABLE)["score"] == 2  # it may hold other statistics now


@pytest.mark.parametrize(
    ("section", "key", "problem"),
    [
        ("scoring", "reference", "scoring.reference: typo.npz: no such file or folder; expected other real images or"),
        (
            "data",
            "path",
            "data.path: typo.npz: no such file or folder; the latents in results/latents/tiny-366fbcfc were",
        ),
    ],
)
def test_a_file_that_is_not_there_stops_before_anything_is_made_from_earlier_results(study, section, key, problem):
    more_seeds = {"table1": {**BLOCK, "seed": [0, 1]}}
    with configured(study, tiny_study(**{section: {key: "typo.npz"}}, experiments=more_seeds)):
        done = snakemake(study, "--dry-run", TABLE, check=False)
        interim = snakemake(study, "--dry-run", "interim")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(f"config.yaml: {problem}")
    assert "interim" in interim.stdout


@pytest.mark.slow
def test_other_pictures_under_the_same_name_stop_before_anything_is_trained_on_them(study, study_copy):
    before = {path: path.stat().st_mtime_ns for path in (study_copy / "results").rglob("*.*")}
    with zipfile.ZipFile(study_copy / "digits.zip") as archive:
        archive.extractall(study_copy / "unpacked")
    as_folder = {"source": "folder", "path": "unpacked/digits"}
    write_config(study_copy, tiny_study(data=as_folder))
    same = snakemake(study_copy, TABLE)
    assert "data.path: unpacked/digits: the pictures that results here were made from" in same.stdout
    made = {str(path.relative_to(study_copy / "results")) for path in before if before[path] != path.stat().st_mtime_ns}
    assert made == {"sources/tiny-366fbcfc.json"}

    shutil.copy(study_copy / "unpacked/digits/0/000.png", study_copy / "unpacked/digits/0/new.png")
    write_config(study_copy, tiny_study(data=as_folder, experiments={"table1": {**BLOCK, "seed": [0, 1]}}))
    other = snakemake(study_copy, TABLE, check=False)
    assert other.returncode != 0
    assert "mpdit identify: data.path: unpacked/digits: holds other pictures" in other.stderr
    assert (
        runs(study_copy).keys() == runs(study).keys()
        and (study_copy / TABLE).stat().st_mtime_ns == before[study_copy / TABLE]
    )


def test_edited_sources_retrain_nothing(study_copy):
    for source in [*study_copy.glob("mpdit/**/*.py"), *study_copy.glob("workflow/**/*.smk"), study_copy / "Snakefile"]:
        source.write_text(source.read_text() + "\n# an edit\n")
    rule = study_copy / "workflow/rules/train.smk"
    rule.write_text(rule.read_text().replace("--latents", " --latents"))
    (study_copy / "digits.zip").touch()
    assert jobs(study_copy, TABLE) == {}


def test_more_steps_continue_every_run(study_copy):
    write_config(study_copy, tiny_study(training={"steps": 2 * STEPS}))
    assert jobs(study_copy, TABLE)["train"] == 2
    run = runs(study_copy)["E"]
    snakemake(study_copy, str((run / "trained.json").relative_to(study_copy)))
    assert f"continues from step {STEPS}" in (run / "train.log").read_text()
    assert json.loads((run / "trained.json").read_text())["step"] == 2 * STEPS
    steps = pd.read_csv(run / "training.csv")["step"]
    assert steps.is_monotonic_increasing
    assert steps.iloc[-1] == 2 * STEPS


def test_a_new_block_leaves_the_figures_of_others_alone(study):
    with configured(study, tiny_study(experiments={"table2": {**BLOCK, "config": "E", "seed": [0, 1]}})):
        dry = snakemake(study, "--dry-run", "figures", "results/experiments/table2/runs.csv").stdout
    assert len(trained_runs(dry)) == 1
    redrawn = re.findall(r"output: results/figures/(\w+).png", dry)
    assert not {name for name in redrawn if "table1" in ARTIFACTS[name].experiments}, dry


def test_snakemakes_own_report_shows_tables_and_figures_with_captions(study):
    snakemake(study, TABLE, "--report", "report.html")
    shown = (study / "report.html").read_text()
    for name in ("table1", "loss", "samples"):
        assert ARTIFACTS[name].caption.split(",")[0].split(" (")[0] in shown
    assert '"Tables"' in shown
    assert '"Figures"' in shown


def test_interim_runs_beside_another_snakemake_and_leaves_its_locks(study):
    lock = study / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/runs.csv\n")
    try:
        done = snakemake(study, "interim", check=False)
        assert done.returncode != 0
        assert done.stderr.splitlines()[-1].endswith("would lose its lock; run this with --nolock")
        snakemake(study, "--nolock", "interim")
        assert lock.read_text() == "results/runs.csv\n"
    finally:
        shutil.rmtree(lock.parent)
    interim = study / "results/interim"
    assert "Interim, 20" in (interim / "report.html").read_text()
    assert pd.read_csv(interim / "table1.csv").equals(pd.read_csv(study / TABLE))


def test_an_imported_run_is_neither_trained_nor_sampled_nor_scored_nor_traced_again(study_copy, tmp_path):
    here = runs(study_copy)["E"]
    elsewhere = shutil.copytree(here, tmp_path / here.name)
    for path in sorted(elsewhere.rglob("*"), reverse=True):
        os.utime(path)  # as copies that do not keep modification times
    shutil.rmtree(here)
    aggregate = "results/experiments/table1/runs.csv"
    (study_copy / aggregate).unlink()
    assert jobs(study_copy, aggregate)["train"] == 1
    subprocess.run([sys.executable, "-m", "mpdit", "import", str(elsewhere)], cwd=study_copy, check=True)
    assert jobs(study_copy, aggregate) == {"aggregate": 1}


@pytest.mark.slow
def test_the_default_target_makes_the_aggregates_of_every_block(study_copy):
    snakemake(study_copy)
    table = pd.read_csv(study_copy / "results/runs.csv")
    assert sorted(table["config"]) == ["A", "E"]
    assert set(table["status"]) == {"trained"}
    assert "2 runs: 2 trained" in (study_copy / "results/report.html").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (yaml.safe_dump(TINY | {"training": {"stepz": 3}}), r"training: unknown key 'stepz'.* steps, batch_size"),
        ("data: [1\nexperiments: {}", r"line 2: expected ',' or '\]', but got ':'"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(project, text, expected):
    with configured(project, TINY):
        (project / "config.yaml").write_text(text)
        done = snakemake(project, "--dry-run", check=False)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert len(lines) == 1, done.stderr
    assert re.match(f"config.yaml: {expected}", lines[0])


def test_configfile_replaces_the_default_whole(project):
    other = tiny_study(experiments={"table1": {**BLOCK, "config": "B"}})
    (project / "other.yaml").write_text(yaml.safe_dump(other))
    (run,) = trained_runs(snakemake(project, "--dry-run", TABLE, "--configfile", "other.yaml").stdout)
    assert "-B-" in run


@pytest.mark.slow
def test_another_complete_file_makes_the_same_target_from_cifar10(shared_data, tmp_path):
    project = make_project(tmp_path / "project")
    with (
        zipfile.ZipFile(shared_data / "cifar10-train.zip") as whole,
        zipfile.ZipFile(project / "some.zip", "w") as some,
    ):
        for name in sorted(whole.namelist()):
            if re.fullmatch(r".*000\d\.jpg", name):
                some.writestr(name, whole.read(name))
    cifar = tiny_study(
        data={"name": "cifar", "path": "some.zip", "resolution": 32},
        training={"steps": 8, "snapshots": 2},
        sampling={"sampler": "ddim", "steps": 2, "count": 20, "ema_width": 0.1},
        experiments={"table1": {**BLOCK, "model": "DiT-Nano/8", "config": "E", "modulation": "scale_rotate"}},
    )
    (project / "cifar.yaml").write_text(yaml.safe_dump(cifar))
    snakemake(project, TABLE, "--configfile", "cifar.yaml")
    (row,) = pd.read_csv(project / "results/experiments/table1/fid.csv").to_dict("records")
    assert (row["data"], row["sampler"], row["count"], row["modulation"]) == ("cifar", "ddim", 20, "scale_rotate")
    (manifest,) = (project / "results/latents").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["shape"] == [3, 32, 32]


@pytest.mark.slow
def test_a_killed_workflow_continues_and_ends_bit_identical(tmp_path):
    config = tiny_study(training={"steps": 600, "batch_size": 64}, experiments={"table1": {**BLOCK, "config": "E"}})
    whole, killed = (make_project(tmp_path / name, config) for name in ("whole", "killed"))
    (run,) = trained_runs(snakemake(whole, "--dry-run", TABLE).stdout)
    goal = f"results/runs/{run}/trained.json"
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


def test_a_study_with_primary_claims_is_locked_before_its_first_run(tmp_path):
    project = make_project(tmp_path / "project", {**TINY, "claims": {"primary": ["preservation"]}})
    (run, *_) = Experiment(yaml.safe_load((project / "config.yaml").read_text())).runs
    snakemake(project, f"results/runs/{run}/spec.json")
    lock = json.loads((project / "results/study-lock.json").read_text())
    assert lock["primary"] == ["preservation"] and lock["trained_before"] is False
    assert json.loads((project / f"results/runs/{run}/spec.json").read_text())["run"] == run


def test_claims_that_are_named_after_the_runs_wait_for_a_lock_that_says_so_and_train_nothing(study_copy):
    lock = "results/study-lock.json"
    with configured(study_copy, {**TINY, "claims": {"primary": ["preservation"]}}):
        planned = jobs(study_copy, "results/claims.csv")
        assert (planned["lock"], planned["table"]) == (1, 1)
        assert not {"spec", "train", "sample", "score"} & set(planned)
        snakemake(study_copy, lock)
    assert json.loads((study_copy / lock).read_text())["trained_before"] is True
