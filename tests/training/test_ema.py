"""Power-function EMAs are tracked at any interval as their closed form says."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.effort import EFFORT
from helpers.ema_profiles import closed_form
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from mpdit.experiment.ema_profiles import width_to_gamma
from mpdit.system.errors import UserError
from mpdit.training import ema
from mpdit.training.flat_tensors import FlatTensors

WIDTHS = (0.05, 0.10)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.sampled_from([0.03, 0.05, 0.10, 0.25]))
@settings(max_examples=100 * EFFORT, deadline=None)
def test_updates_at_any_interval_give_the_closed_form(intervals, width):
    ends = np.cumsum(intervals).tolist()
    # The k-th update sees the k-th unit vector, so the average consists of the weights.
    parameter = torch.full((len(ends),), 7.0)
    average = ema.PowerEMA(FlatTensors([{"w": parameter}]), [width])
    for k, (end, dt) in enumerate(zip(ends, intervals, strict=True)):
        parameter.copy_(torch.eye(len(ends))[k])
        average.update(end, dt)
    weights = average.averages[width]["w"].double().numpy()
    np.testing.assert_allclose(weights, closed_form(ends, width), atol=1e-6)  # float32 over 40 updates
    gamma = width_to_gamma(width)
    (start, end) = list(pairwise([0, *ends]))[-1]
    continuous = quad(lambda x: (gamma + 1) / ends[-1] * (x / ends[-1]) ** gamma, start, end)[0]
    assert weights[-1] == pytest.approx(continuous, abs=1e-6)


def test_the_first_update_overwrites_the_initial_values():
    parameter = torch.randn(5)
    average = ema.PowerEMA(FlatTensors([{"w": parameter}]), WIDTHS)
    parameter.add_(1)
    average.update(3, dt=3)
    assert all(torch.equal(average.averages[width]["w"], parameter) for width in WIDTHS)


@pytest.mark.parametrize(("step", "dt"), [(0, 1), (3, 4), (3, 0)])
def test_impossible_intervals_are_errors(step, dt):
    with pytest.raises(ValueError, match="dt"):
        ema.beta(step, dt, 6.94)


def test_update_never_waits_for_the_device():
    average = ema.PowerEMA(FlatTensors([{"w": torch.empty(3, 3, device="meta")}]), WIDTHS)
    average.update(1)  # reading the values of a meta tensor raises
    average.update(2)


def test_averages_follow_the_optimizer_and_are_restored_from_a_checkpoint():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = ema.PowerEMA(FlatTensors([dict(model.named_parameters())]), WIDTHS)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    average.update(1)
    assert torch.equal(average.averages[0.05]["weight"], model.weight)
    restored = ema.PowerEMA(FlatTensors([dict(torch.nn.Linear(3, 2).named_parameters())]), WIDTHS)
    restored.load_state_dict({name: tensor.clone() for name, tensor in average.state_dict().items()})
    assert restored.state_dict().keys() == {"0.05/weight", "0.05/bias", "0.1/weight", "0.1/bias"}
    assert all(torch.equal(tensor, average.state_dict()[name]) for name, tensor in restored.state_dict().items())
    with pytest.raises(UserError, match=r"EMA state: '0.1/bias'"):
        ema.PowerEMA(FlatTensors([dict(model.named_parameters())]), [0.05]).load_state_dict(average.state_dict())
