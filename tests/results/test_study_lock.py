"""What a study has fixed before its first reported run, and what has changed since."""

import json
from dataclasses import asdict, replace

import pytest

from mpdit.experiment.grid import Experiment
from mpdit.results.study_lock import PlannedStudy, lock_of, planned_study, read_lock, read_planned_study
from mpdit.system.errors import UserError

BOUNDS = {"preservation": (float("-inf"), 0.0)}
STUDY = {
    "data": {"source": "mnist", "name": "mnist8", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "claims": {"primary": ["preservation"]},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0, 1]},
        "control_same": {"model": "DiT-Nano/2", "config": "A", "modulation": "scale_shift", "seed": [100, 101]},
    },
}


def test_a_lock_says_what_has_changed(tmp_path):
    lock = lock_of(Experiment(STUDY), BOUNDS)
    (tmp_path / "study-lock.json").write_text(json.dumps(asdict(lock)))
    read = read_lock(tmp_path / "study-lock.json")
    assert read.differences(lock) == ()
    assert read.hash == lock.hash
    other = lock_of(Experiment(STUDY | {"learning_rates": {"A": 1e-3, "E": 1e-2}}), BOUNDS)
    assert (read.differences(other), other.hash == lock.hash) == (("learning rates",), False)
    wider = lock_of(Experiment(STUDY), {"preservation": (float("-inf"), 1.0)})
    assert read.differences(wider) == ("bounds of the primary claims",)
    late = replace(read, trained_before=True)
    assert late.differences(lock) == ("runs were trained before the lock file was written",)
    assert lock.bounds == {"preservation": [None, 0.0]}


def test_a_plan_names_primary_claims_and_the_runs_that_only_controls_have(tmp_path):
    experiment = Experiment(STUDY)
    plan = {**experiment.plan(*experiment.blocks), **planned_study(experiment, BOUNDS)}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    read = read_planned_study(tmp_path / "plan.json")
    assert read.primary == ("preservation",)
    assert [len(runs) for runs in read.controls.values()] == [2]
    assert read.lock is not None and read.lock.differences(lock_of(experiment, BOUNDS)) == ()
    without = Experiment({key: value for key, value in STUDY.items() if key != "claims"})
    assert set(planned_study(without, BOUNDS)) == {"controls"}
    (tmp_path / "plan.json").write_text("{}")
    assert read_planned_study(tmp_path / "plan.json") == PlannedStudy()


def test_a_damaged_lock_is_one_line(tmp_path):
    (tmp_path / "study-lock.json").write_text("{}")
    with pytest.raises(UserError, match=r"study-lock\.json: missing field 'rates'"):
        read_lock(tmp_path / "study-lock.json")
