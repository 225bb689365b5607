"""Merged moments against NumPy over all values at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpdit.data.moments import channel_moments, row_moments


def rng(seed=0):
    return np.random.default_rng(seed)


def merged(moments):
    total, *others = moments
    for part in others:
        total = total + part
    return total


# With a scatter matrix


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), offset=st.sampled_from([0.0, 3.0, 1e6]))
def test_moments_of_parts_add_up_to_the_moments_of_the_whole(sizes, offset):
    rows = rng(sum(sizes)).normal(offset, 1, (sum(sizes), 5))
    total = merged(row_moments(part) for part in np.split(rows, np.cumsum(sizes)[:-1]))
    assert total.count == len(rows)
    np.testing.assert_allclose(total.mean, rows.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total.covariance, np.cov(rows, rowvar=False), rtol=1e-6, atol=1e-8)


@given(inside=st.integers(1, 30), outside=st.integers(2, 30))
def test_removing_a_subset_leaves_the_moments_of_the_rest(inside, outside):
    rows = rng(inside).normal(2, 1, (inside + outside, 4)) ** 3
    rest = row_moments(rows) - row_moments(rows[:inside])
    assert rest.count == outside
    np.testing.assert_allclose(rest.mean, rows[inside:].mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(rest.covariance, np.cov(rows[inside:], rowvar=False), rtol=1e-7, atol=1e-7)


def test_moments_are_float64_for_rows_of_any_float_type():
    rows = rng().normal(100, 1, (1000, 3)).astype(np.float32)
    moments = row_moments(rows)
    assert moments.mean.dtype == moments.covariance.dtype == np.float64
    np.testing.assert_allclose(moments.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-10)


# Per channel


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(-1e4, 1e4), st.booleans(), st.integers(0, 99))
def test_channel_moments_of_parts_merge_in_any_grouping(sizes, offset, posterior, seed):
    mean = (offset + 0.01 * rng(seed).standard_normal((sum(sizes), 2, 3, 4))).astype(np.float32)
    std = rng(seed + 1).random(mean.shape).astype(np.float16) if posterior else None
    bounds = np.cumsum(sizes)[:-1]
    stds = np.split(std, bounds) if posterior else [None] * len(sizes)
    parts = [channel_moments(*part) for part in zip(np.split(mean, bounds), stds, strict=True)]
    halves = merged(merged(half) for half in (parts[::2], parts[1::2]) if half)
    exact = mean.astype(np.float64)
    variance = exact.var(axis=(0, 2, 3)) + (np.square(std, dtype=np.float64).mean(axis=(0, 2, 3)) if posterior else 0)
    for moments in (merged(parts), halves):
        assert moments.count == sum(sizes) * 12
        np.testing.assert_allclose(moments.mean, exact.mean(axis=(0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(moments.std, np.sqrt(variance), rtol=1e-9)


def test_channel_moments_of_a_posterior_are_those_of_its_samples():
    mean, std = rng(0).standard_normal((500, 2, 4, 4)), rng(1).random((500, 2, 4, 4))
    samples = mean + std * rng(2).standard_normal((100, *mean.shape))
    moments = channel_moments(mean, std)
    np.testing.assert_allclose(moments.std, samples.std(axis=(0, 1, 3, 4)), rtol=3e-3)


def test_the_two_forms_of_scatter_agree():
    values = rng().normal(5, 2, (50, 3))
    one, other = (channel_moments(part[:, :, None, None]) for part in np.split(values, 2))
    assert np.diag(row_moments(values).scatter) == pytest.approx((one + other).scatter, rel=1e-12)
