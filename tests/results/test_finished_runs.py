"""What the workflow leaves alone: runs that have ended, and what was made from them."""

import json
import os

import pytest
from helpers.tiny_runs import make_spec

from mpdit.experiment.grid import Experiment
from mpdit.results.finished_runs import finished_runs, measured, outcome, sampled, traced

RUN = make_spec()
ENDED = {
    "run": RUN.name, "status": "trained", "step": 12, "steps": 12, "parameters": 1, "images_per_second": 1.0,
    "seconds": 1.0, "peak_memory_mb": 1.0, "loss": 0.5, "latents": "ab", "device": "cpu", "threads": 1, "commit": None,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """The folder of a run that has ended."""
    (tmp_path / RUN.name).mkdir()
    (tmp_path / RUN.name / "spec.json").write_text(json.dumps(RUN.to_json()))
    (tmp_path / RUN.name / "trained.json").write_text(json.dumps(ENDED))
    return tmp_path / RUN.name


@pytest.mark.parametrize(
    ("changes", "has_ended"),
    [
        ({}, True),
        ({"step": 20}, True),
        ({"step": 11}, False),
        ({"step": 3, "status": "diverged"}, True),
        ({"run": "another"}, False),
    ],
)
def test_a_run_has_ended_at_its_last_step_or_diverged(folder, changes, has_ended):
    (folder / "trained.json").write_text(json.dumps(ENDED | changes))
    assert (RUN.name in finished_runs({RUN.name: RUN}, folder.parent)) is has_ended
    (folder / "trained.json").rename(folder / "outcome.json")
    assert (outcome(folder, RUN) is not None) is has_ended


@pytest.mark.parametrize("lost", ["spec.json", "trained.json"])
def test_a_run_whose_files_are_lost_or_damaged_has_not_ended(folder, lost):
    (folder / "outcome.json").write_text(json.dumps(ENDED))
    (folder / lost).unlink()
    assert finished_runs({RUN.name: RUN}, folder.parent) == {}


def test_a_damaged_trained_json_is_no_outcome(folder):
    (folder / "trained.json").write_text("{")
    assert outcome(folder, RUN) is None


def test_magnitudes_and_losses_count_where_they_are_not_older_than_the_run(folder):
    for name in ("magnitudes.csv", "heldout.csv", "heldout_images.csv"):
        (folder / name).write_text("run,draws\nx,32\n")
    assert traced([RUN.name, "other"], folder.parent) == [RUN.name]
    assert measured([RUN.name, "other"], folder.parent, 32) == [RUN.name]
    assert measured([RUN.name], folder.parent, 64) == []
    later = (folder / "magnitudes.csv").stat().st_mtime + 10
    os.utime(folder / "trained.json", (later, later))
    assert traced([RUN.name], folder.parent) == measured([RUN.name], folder.parent, 32) == []


def test_samples_count_where_all_of_their_files_are_there(tmp_path):
    block = {"model": "DiT-Nano/4", "config": "E", "modulation": "scale_shift", "seed": [0, 1]}
    data = {"name": "digits", "source": "mnist", "resolution": 8}
    study = Experiment({"data": data, "learning_rates": {"E": 0.02}, "experiments": {"table1": block}})
    whole, half = (f"{run}/samples/{next(iter(study.protocols))}" for run in study.runs)
    for name in ("samples.npz", "grid.png", "protocol.json"):
        for folder in (whole, half)[: 1 if name == "protocol.json" else 2]:
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).touch()
    assert sampled(study, tmp_path) == [whole]
