"""Distances against independent computations: SciPy's matrix root, a plain MMD."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mpdit.data.moments import row_moments
from mpdit.evaluation import metrics
from mpdit.evaluation.metrics import frechet_distance, kernel_distance


def rng(seed=0):
    return np.random.default_rng(seed)


# Fréchet distance


def test_frechet_distance_agrees_with_the_matrix_root():
    a, b = rng(1).normal(size=(400, 20)), rng(2).normal(0.3, 1.5, size=(500, 20)) @ rng(3).normal(size=(20, 20)) / 4
    (m1, c1), (m2, c2) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_known_gaussians():
    d1, d2 = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    rotation = np.linalg.qr(rng().normal(size=(3, 3)))[0]
    covariances = [rotation @ np.diag(d) @ rotation.T for d in (d1, d2)]
    distance = frechet_distance(np.zeros(3), covariances[0], np.array([0, 3.0, 4.0]), covariances[1])
    assert distance == pytest.approx(25 + ((np.sqrt(d1) - np.sqrt(d2)) ** 2).sum(), rel=1e-12)


def test_frechet_distance_of_a_singular_covariance_to_itself_is_zero():
    rows = rng().normal(size=(10, 50))
    moments = row_moments(rows)
    assert frechet_distance(*2 * (moments.mean, moments.covariance)) == pytest.approx(0, abs=1e-5)


# Kernel distance


def plain_mmd(x, y):
    """The unbiased estimator of squared MMD, over all rows (Gretton et al. 2012, eq. 3), with KID's kernel."""
    x, y = x.astype(np.float64), y.astype(np.float64)

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal(a):
        k = kernel(a, a)
        return (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return off_diagonal(x) + off_diagonal(y) - 2 * kernel(x, y).mean()


@pytest.mark.parametrize("block", [7, 60, 1024])
def test_kernel_distance_is_the_plain_mmd(monkeypatch, block):
    monkeypatch.setattr(metrics, "BLOCK", block)
    x, y = rng(0).normal(0, 1, (60, 16)).astype(np.float32), rng(1).normal(0.25, 1, (90, 16)).astype(np.float32)
    expected = pytest.approx(plain_mmd(x, y), rel=1e-10)
    assert kernel_distance(x, y, seed=0).value == expected
    assert kernel_distance(x, y, seed=0, mean_kernel_2=metrics.mean_kernel(y)).value == expected


def test_the_error_of_kernel_distance_is_the_jackknifes():
    x, y = (rng(seed).normal(seed / 4, 1, (30, 8)).astype(np.float32) for seed in (0, 1))
    without = [plain_mmd(np.delete(x, i, axis=0), y) for i in range(30)]
    assert kernel_distance(x, y, seed=0).error == pytest.approx(np.sqrt(29 * np.var(without)), rel=1e-8)
    assert kernel_distance(x[:2], y, seed=0).error is None


def test_the_error_of_kernel_distance_is_how_much_other_samples_move_it():
    y = rng(0).normal(0.5, 1, (500, 8)).astype(np.float32)
    distances = [
        kernel_distance(rng(seed).normal(size=(100, 8)).astype(np.float32), y, seed=0) for seed in range(1, 101)
    ]
    spread = np.std([distance.value for distance in distances])
    assert np.mean([distance.error for distance in distances]) == pytest.approx(spread, rel=0.2)


def test_kernel_distance_of_very_many_samples_is_a_mean_over_subsets(monkeypatch):
    """torch-fidelity's subsets have the value over all pairs for their expectation."""
    x, y = (rng(seed).normal(seed / 4, 1, (400, 16)).astype(np.float32) for seed in (0, 1))
    over_all_pairs = kernel_distance(x, y, seed=0).value
    monkeypatch.setattr(metrics, "ALL_PAIRS", 800**2 * 16 - 1)
    monkeypatch.setattr(metrics, "KID_SUBSET_SIZE", 100)
    values = [kernel_distance(x, y, seed=seed).value for seed in range(20)]
    assert 0 < np.std(values) < 0.1 * over_all_pairs
    assert np.mean(values) == pytest.approx(over_all_pairs, abs=4 * np.std(values) / np.sqrt(20))
    assert kernel_distance(x, y, seed=0) == (values[0], None)


def test_kernel_distance_of_one_distribution_is_unbiased():
    values = [kernel_distance(*rng(seed).normal(size=(2, 50, 8)).astype(np.float32), seed=0)[0] for seed in range(40)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)
    assert min(values) < 0 < max(values)
