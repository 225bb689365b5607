"""Every primitive satisfies its lemma, within the sampling error that each test states."""

import math

import pytest
import torch
from helpers.contexts import activation, context
from helpers.effort import EFFORT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch.nn import functional as F

from mpdit.experiment import parts
from mpdit.model.attention import unit_magnitude
from mpdit.model.layers import (
    MLP,
    SILU_RMS,
    Linear,
    ZeroLinear,
    gated_sum,
    layer_norm,
    magnitude,
    mp_coefficients,
    mp_gated_sum,
    mp_sum,
    unit_rows,
)

SIGMAS = 5  # standard errors by which a second moment may be off
seeds = st.integers(0, 2**31)
scales = st.floats(1e-2, 1e2)
ROW_FORMS = ("normalized", "forced")
few = settings(max_examples=25 * EFFORT, deadline=None)


def normal(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def linear(n: int, m: int, weights: str, seed: int = 0) -> Linear:
    layer = Linear(n, m, weights)
    layer.initialize(torch.Generator().manual_seed(seed))
    return layer.double()


# --- Linear layers (Lemma 3) ---


@few
@given(seed=seeds, n=st.integers(2, 64), m=st.integers(1, 64), scale=scales, weights=st.sampled_from(ROW_FORMS))
def test_linear_preserves_magnitude(seed, n, m, scale, weights):
    """For normal x, the mean square of y over N samples has relative variance 2 |W W^T|_F^2 / (m^2 N)."""
    layer, count = linear(n, m, weights, seed), 4096
    y = layer(scale * normal(seed + 1, count, n))
    rows = layer.rows()
    error = math.sqrt(2 * (rows @ rows.T).square().sum().item() / (m**2 * count))
    assert y.square().mean().item() / scale**2 == pytest.approx(1, abs=SIGMAS * error)


@few
@given(seed=seeds, n=st.integers(1, 32), scale=scales)
def test_unit_rows_have_norm_one_and_are_idempotent(seed, n, scale):
    rows = unit_rows(scale * normal(seed, 7, n))
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(unit_rows(rows), rows)
    torch.testing.assert_close(unit_rows(scale * rows), rows)


@pytest.mark.parametrize(("weights", "norm"), [("normalized", math.sqrt(24)), ("forced", 1.0)])
def test_stored_norms(weights, norm):
    """Normalized rows are stored at norm sqrt(n), forced ones at 1; both are used at norm 1 and give equal outputs."""
    layer = linear(24, 5, weights)
    torch.testing.assert_close(
        layer.weight.norm(dim=-1), torch.full((5,), norm, dtype=torch.float64), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(layer(normal(1, 3, 24)), linear(24, 5, "forced")(normal(1, 3, 24)), rtol=1e-6, atol=1e-7)


def test_normalized_rows_only_grow():
    """The gradient of a normalized row is orthogonal to it, so a step of gradient descent makes it longer."""
    layer = linear(24, 5, "normalized")
    before = layer.weight.detach().norm(dim=-1)
    layer(normal(1, 32, 24)).pow(3).sum().backward()
    assert (layer.weight * layer.weight.grad).sum(-1).abs().max() < 1e-10 * layer.weight.grad.norm()
    with torch.no_grad():
        layer.weight -= 1e-3 * layer.weight.grad
    assert (layer.weight.norm(dim=-1) > before).all()


def test_multiplier_scales_the_output():
    layer, x = linear(8, 4, "normalized"), normal(1, 3, 8)
    torch.testing.assert_close(layer(x, 1.7), 1.7 * layer(x))


def test_plain_weights_are_initialized_as_in_dit():
    """Xavier uniform for linear layers, zero for heads."""
    layer, zero = Linear(100, 300, "plain"), ZeroLinear(8, (8, 8), "plain")
    for module in (layer, zero):
        module.initialize(torch.Generator().manual_seed(0))
    bound = math.sqrt(6 / 400)
    assert 0.999 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not zero.weight.any()
    assert zero.gain is None


@pytest.mark.parametrize("sizes", [(8, 8, 8), (8, 4, 8), (16, 8), (4,)])
def test_each_gain_scales_its_part(sizes):
    """A ZeroLinear starts at zero, and each of its parts has its own gain."""
    layer = ZeroLinear(6, sizes, "forced")
    layer.initialize(torch.Generator().manual_seed(0))
    x = normal(1, 3, 5, 6, dtype=torch.float32)
    assert layer(x).shape == (3, 5, sum(sizes))
    assert not layer(x).any()
    layer.gain.data = torch.arange(1.0, len(sizes) + 1)
    for index, (part, plain) in enumerate(
        zip(layer(x).split(sizes, -1), F.linear(x, layer.weight).split(sizes, -1), strict=True)
    ):
        torch.testing.assert_close(part, (index + 1) * plain)


# --- Sums (Lemma 4) ---


@given(t=st.floats(0, 1))
def test_mp_weights_square_to_one(t):
    keep, add = mp_coefficients(t)
    assert keep**2 + add**2 == pytest.approx(1)
    assert add**2 == pytest.approx(t**2 / ((1 - t) ** 2 + t**2))


@few
@given(seed=seeds, t=st.floats(0, 1), mx=scales, my=scales, correlation=st.floats(-0.99, 0.99))
def test_mp_sum_has_the_magnitude_of_the_lemma(seed, t, mx, my, correlation):
    """M^2 = (1 - a) M[x]^2 + a M[y]^2 + 2 sqrt(a (1 - a)) r M[x] M[y] for x and y with correlation r.

    For normal x and y the sum is normal, so its mean square over N samples has relative variance 2 / N.
    """
    count = 20_000
    x = normal(seed, count)
    y = correlation * x + math.sqrt(1 - correlation**2) * normal(seed + 1, count)
    keep, add = mp_coefficients(t)
    expected = (keep * mx) ** 2 + (add * my) ** 2 + 2 * keep * add * correlation * mx * my
    measured = mp_sum(mx * x, my * y, t).square().mean().item()
    assert measured == pytest.approx(expected, rel=SIGMAS * math.sqrt(2 / count))


def test_gated_sum_equals_its_formula():
    x, y, gate = normal(0, 2, 3, 4), normal(1, 2, 3, 4), normal(2, 2, 1, 4)
    torch.testing.assert_close(mp_gated_sum(x, y, gate), mp_sum(x, gate * y, 0.3))
    torch.testing.assert_close(gated_sum(x, y, gate), x + gate * y)


# --- Activations (Lemmas 5 and 6) ---


def silu_magnitude(scale: float) -> float:
    """M[silu(z) / SILU_RMS] / M[z] for normal z of magnitude `scale`, by quadrature."""

    def square(z):
        return (z / (1 + math.exp(-z))) ** 2 * math.exp(-((z / scale) ** 2) / 2) / (scale * math.sqrt(2 * math.pi))

    limit = min(40 * scale, 700)
    return math.sqrt(quad(square, -limit, limit, epsabs=1e-14, limit=200, points=[0])[0]) / SILU_RMS / scale


def test_silu_constant_is_exact():
    assert silu_magnitude(1.0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("scale", "ratio"), [(0.1, 0.841), (0.5, 0.901), (1.0, 1.000), (2.0, 1.111), (10.0, 1.184)])
def test_mp_silu_preserves_only_unit_magnitude(scale, ratio):
    """M[f(x)] / M[x] (Lemma 5) for normal x of other magnitudes, exactly and over 200,000 samples."""
    assert silu_magnitude(scale) == pytest.approx(ratio, abs=6e-4)
    measured = magnitude(activation("mp_silu")(scale * normal(0, 200_000))).item() / scale
    assert measured == pytest.approx(ratio, rel=0.015)


@few
@given(seed=seeds, scale=st.floats(1e-3, 1e3), uniform=st.booleans())
def test_mp_leaky_relu_preserves_every_magnitude(seed, scale, uniform):
    """Lemma 6 for any symmetric input; exact for a sample that contains -x for each x."""
    half = normal(seed, 1000)
    half = half.tanh() if uniform else half
    x = scale * torch.cat((half, -half))
    torch.testing.assert_close(magnitude(activation("mp_leaky_relu")(x)), magnitude(x))


def test_activations_of_large_inputs_are_finite():
    x = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4])
    for name in parts.names("activation"):
        assert activation(name)(x).isfinite().all()


def test_mlp_equals_its_formula():
    mlp = MLP(context(width=8)).double()
    for layer in (mlp.up, mlp.down):
        layer.initialize()
    x = normal(0, 2, 3, 8)
    expected = F.linear(F.silu(F.linear(x, mlp.up.weight)) / SILU_RMS, mlp.down.weight)
    torch.testing.assert_close(mlp(x), expected)


# --- Norms and half precision ---


def test_normalization_is_done_in_float32():
    """Half-precision inputs give the float32 result, rounded at most once."""
    x = normal(0, 4, 64, dtype=torch.float32).bfloat16() * 300
    assert torch.equal(unit_magnitude(x), unit_magnitude(x.float()).bfloat16())
    assert torch.equal(layer_norm(x), layer_norm(x.float()))
    assert torch.equal(unit_rows(x), unit_rows(x.float()).bfloat16())
