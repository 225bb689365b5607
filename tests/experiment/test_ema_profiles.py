"""Profiles of power-function EMAs: their closed form, and the fit of one by others."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from mpdit.experiment import ema_profiles
from mpdit.experiment.schedule import snapshot_steps
from mpdit.system.errors import UserError

WIDTHS = (0.05, 0.10)


# --- Profiles ---


@given(st.floats(0.001, 0.288))
def test_width_and_gamma_are_inverse(width):
    assert ema_profiles.gamma_to_width(ema_profiles.width_to_gamma(width)) == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("width", [0.01, 0.05, 0.10, 0.25, ema_profiles.WIDEST])
def test_width_is_the_standard_deviation_of_the_profile(width):
    gamma = ema_profiles.width_to_gamma(width)
    mass, mean, square = (quad(lambda x, k=k: (gamma + 1) * x ** (gamma + k), 0, 1)[0] for k in (0, 1, 2))
    assert mass == pytest.approx(1)
    assert math.sqrt(square - mean**2) == pytest.approx(width, rel=1e-6)


@pytest.mark.parametrize("width", [0, -0.1, 0.3, float("nan")])
def test_impossible_widths_are_errors(width):
    with pytest.raises(UserError, match=r"EMA width: .*must be above 0 and at most 0\.2887"):
        ema_profiles.width_to_gamma(width)


@given(*[st.floats(0, 40), st.floats(1, 100)] * 2)
def test_inner_product_is_the_integral(gamma_a, time_a, gamma_b, time_b):
    def profile(gamma, time, x):
        return (gamma + 1) / time * (x / time) ** gamma

    early = min(time_a, time_b)
    integral = quad(lambda x: profile(gamma_a, time_a, x) * profile(gamma_b, time_b, x), 0, early)[0]
    assert ema_profiles.inner_product(gamma_a, time_a, gamma_b, time_b) == pytest.approx(integral, rel=1e-6, abs=1e-12)


def test_inner_product_does_not_overflow_for_long_runs_and_narrow_widths():
    gamma = ema_profiles.width_to_gamma(0.001)  # 998: 400000^998 overflows a float
    product = ema_profiles.inner_product(gamma, 399_000, gamma, 400_000)
    assert product == pytest.approx((gamma + 1) ** 2 / (2 * gamma + 1) / 4e5 * 0.9975**gamma)


# --- Fitting ---


@pytest.mark.parametrize(("times", "worst"), [(16, 0.039), (32, 0.0112), (64, 0.003), (128, 0.0008), (250, 0.0002)])
def test_residuals_are_those_that_snapshot_steps_states(times, worst):
    profiles = [(step, width) for step in snapshot_steps(400_000, times) for width in WIDTHS]
    fits = [ema_profiles.fit_profile(profiles, 400_000, width) for width in (0.03, 0.04, 0.06, 0.075, 0.125, 0.15, 0.2)]
    assert max(residual for _, residual in fits) == pytest.approx(worst, rel=0.1)
    assert all(coefficients.sum() == pytest.approx(1, abs=1e-12) for coefficients, _ in fits)


@pytest.mark.parametrize("count", [7, 16, 17, 40, 64])
@pytest.mark.parametrize("width", [0.02, 0.03, 0.07, 0.2, 0.25])
def test_the_quick_residual_of_a_reconstruction_decides_as_the_exact_one_does(count, width):
    steps = snapshot_steps(4_000, count)
    exact = ema_profiles.fit_profile([(step, tracked) for step in steps for tracked in WIDTHS], 4_000, width)[1]
    quick = ema_profiles.reconstruction_residual(WIDTHS, tuple(steps), width)
    assert quick >= exact - 1e-12
    assert (quick <= ema_profiles.LARGEST_RESIDUAL) == (exact <= ema_profiles.LARGEST_RESIDUAL)


def test_a_tracked_width_is_exact():
    assert ema_profiles.reconstruction_residual(WIDTHS, (5, 10), 0.05) == 0
