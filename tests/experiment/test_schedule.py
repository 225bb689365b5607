"""Learning-rate schedules and steps of snapshots."""

from itertools import pairwise

import pytest

from mpdit.experiment.schedule import SCHEDULES, rate_factor, snapshot_steps
from mpdit.experiment.schema import Training
from mpdit.system.errors import UserError


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {1: 0.1, 5: 0.5, 10: 1, 100: 1, 400: 1}),
        ("inverse_sqrt", {1: 0.1, 5: 0.5, 10: 1, 100: 1, 400: 0.5, 10_000: 0.1}),
    ],
)
def test_a_schedule_depends_on_the_absolute_step(schedule, expected):
    for step, factor in expected.items():
        assert rate_factor(schedule, step, warmup_steps=10, decay_start=100) == pytest.approx(factor)
    assert rate_factor(schedule, 1, warmup_steps=0, decay_start=100) == 1


def test_every_schedule_that_a_configuration_accepts_is_defined():
    assert Training().schedule in SCHEDULES
    assert [Training(schedule=name).schedule for name in SCHEDULES] == list(SCHEDULES)


def test_snapshots_are_evenly_spaced_and_the_last_step_has_one():
    assert snapshot_steps(1600, 32) == list(range(50, 1601, 50))
    assert snapshot_steps(10, 3) == [3, 7, 10]
    assert snapshot_steps(2, 5) == [1, 2]
    assert snapshot_steps(1500, 64)[-2:] == [1477, 1500]
    assert {after - before for before, after in pairwise([0, *snapshot_steps(1500, 64)])} == {23, 24}
    assert set(snapshot_steps(3000, 32)) <= set(snapshot_steps(3000, 64))


def test_no_steps_or_no_snapshots_are_refused():
    for steps, count in ((0, 1), (1, 0)):
        with pytest.raises(UserError, match=f"snapshots: {count} in {steps} steps"):
            snapshot_steps(steps, count)
