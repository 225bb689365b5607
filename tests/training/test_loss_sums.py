"""Sums of the losses, their means, and divergence."""

import math
from dataclasses import asdict

import pytest
import torch

from mpdit.training.loss_sums import LOSS_LIMIT, STEPS_LIMIT, LossSums, batch_sums


def add(loss_sums, step, loss, norm=1.0):
    """Add one step of two images with this loss each."""
    sums = batch_sums(torch.tensor([loss, loss]), torch.zeros(2), torch.tensor([0, 999]), 1000)
    loss_sums.add(step, sums, torch.tensor(norm))


def test_losses_are_summed_per_quarter_of_the_timesteps():
    simple, variational = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    sums = batch_sums(simple, variational, torch.tensor([0, 249, 250, 749, 999]), 1000)
    torch.testing.assert_close(sums, torch.tensor([15.0, 1.5, 3.3, 3.3, 4.4, 5.5, 2, 1, 1, 1]))


def test_means_are_per_image_over_the_steps_since_the_reset():
    loss_sums = LossSums(batch_size=2)
    add(loss_sums, 1, 8.0)
    loss_sums.reset()
    add(loss_sums, 2, 1.0, norm=2.0)
    add(loss_sums, 3, 3.0, norm=4.0)
    means = loss_sums.means()
    assert (means.loss, means.simple, means.variational, means.grad_norm) == (2, 2, 0, 3)
    assert (means.loss_q1, means.loss_q4) == (2, 2)
    assert math.isnan(means.loss_q2)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_the_first_step_that_is_not_finite_is_recorded_and_no_later_step_is_counted(loss, norm):
    loss_sums = LossSums(batch_size=2)
    add(loss_sums, 1, 1.0)
    assert loss_sums.diverged_at == 0
    add(loss_sums, 2, loss, norm)
    means = loss_sums.means()
    add(loss_sums, 3, math.nan)
    add(loss_sums, 4, 1.0)
    assert loss_sums.diverged_at == 2
    assert repr(loss_sums.means()) == repr(means)


def test_a_loss_above_the_limit_for_many_consecutive_steps_is_divergence():
    loss_sums = LossSums(batch_size=2)
    for step in range(1, STEPS_LIMIT):
        add(loss_sums, step, LOSS_LIMIT * 1.01)
    add(loss_sums, STEPS_LIMIT, LOSS_LIMIT * 0.99)  # it recovers just in time
    assert loss_sums.diverged_at == 0
    for step in range(STEPS_LIMIT + 1, 2 * STEPS_LIMIT + 1):
        assert loss_sums.diverged_at == 0
        add(loss_sums, step, LOSS_LIMIT * 1.01)
    assert loss_sums.diverged_at == 2 * STEPS_LIMIT


def test_a_restored_state_has_the_same_sums():
    loss_sums, other = LossSums(batch_size=2), LossSums(batch_size=2)
    add(loss_sums, 1, LOSS_LIMIT * 2)
    other.load_state_dict(loss_sums.state_dict())
    assert asdict(other.means()) == pytest.approx(asdict(loss_sums.means()), nan_ok=True) and other.high_steps == 1
