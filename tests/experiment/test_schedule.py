"""Learning-rate schedules and steps of snapshots."""

import pytest

from mpdit.experiment.schedule import snapshot_steps
from mpdit.system.errors import UserError


def test_snapshots_are_evenly_spaced_and_the_last_step_has_one():
    assert snapshot_steps(1600, 32) == list(range(50, 1601, 50))
    assert snapshot_steps(10, 3) == [3, 7, 10]
    assert snapshot_steps(2, 5) == [1, 2]


def test_no_steps_or_no_snapshots_are_refused():
    for steps, count in ((0, 1), (1, 0)):
        with pytest.raises(UserError, match=f"snapshots: {count} in {steps} steps"):
            snapshot_steps(steps, count)
