"""`mpdit lock`: written once, before the first run that reports."""

import json

import pytest

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment

STUDY = {
    "data": {"source": "mnist", "name": "mnist8", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "claims": {"primary": ["preservation"]},
    "experiments": {"table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": 0}},
}
RUN = next(iter(Experiment(STUDY).runs))


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """Call the command for a run of the study, changed as given; the content of the file, if there is one."""
    monkeypatch.chdir(tmp_path)

    def call(run=RUN, **changes):
        of_run = ["--run", run] if run else []
        assert main(["lock", json.dumps(STUDY | changes), *of_run, "--output", "study-lock.json"]) == 0
        path = tmp_path / "study-lock.json"
        return json.loads(path.read_text()) if path.exists() else None

    return call


def test_a_lock_is_written_once(lock):
    first = lock()
    assert first["primary"] == ["preservation"] and first["trained_before"] is False
    assert set(first["rates"].values()) == {1e-3, 2e-2}
    assert lock(learning_rates={"A": 1e-3, "E": 1e-2}) == first


def test_a_lock_says_whether_runs_were_trained_before_it(lock, tmp_path):
    (tmp_path / "results/runs" / RUN).mkdir(parents=True)
    (tmp_path / "results/runs" / RUN / "trained.json").write_text("{}")
    assert lock()["trained_before"] is True


def test_a_study_is_locked_without_a_run_too(lock):
    assert lock(run=None)["primary"] == ["preservation"]


def test_a_tuning_run_locks_nothing(lock, tmp_path):
    assert lock(run="DiT-Nano-2-A-scale_shift-lr0.004-seed1000-0123abcd") is None
    tuning = {"start": {"A": 1e-3, "E": 2e-2}}
    assert lock(learning_rates=str(tmp_path / "rates.csv"), tuning=tuning) is None
