"""Statistics and distances against independent computations: NumPy in one shot, SciPy's matrix root, a plain MMD."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mpdit.data.moments import row_moments
from mpdit.evaluation import metrics
from mpdit.evaluation.metrics import Reference, Reservoir, frechet_distance, kernel_distance
from mpdit.system.errors import UserError


def rng(seed=0):
    return np.random.default_rng(seed)


def test_importing_metrics_loads_no_torch():
    code = "import sys, mpdit.evaluation.metrics; sys.exit(any(name.startswith('torch') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Reservoir


def kept(size, count, batch, seed=0):
    reservoir = Reservoir(size, rng(seed))
    rows = np.arange(count, dtype=np.float32)[:, None]
    for start in range(0, count, batch):
        reservoir.add(rows[start : start + batch])
    return reservoir.shuffled()[:, 0].astype(int)


def test_reservoir_keeps_distinct_rows_and_all_when_they_fit():
    assert len(set(kept(10, 100, 7))) == 10
    assert sorted(kept(100, 60, 7)) == list(range(60))


def test_reservoir_does_not_depend_on_batches():
    assert kept(10, 100, 1).tolist() == kept(10, 100, 33).tolist()


def test_reservoir_keeps_each_row_equally_often_and_in_any_place():
    draws = np.array([kept(8, 32, 8, seed) for seed in range(2000)])
    expected = 2000 * 8 / 32
    counts = np.bincount(draws.ravel(), minlength=32)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    heads = np.bincount(draws[:, 0], minlength=32)
    assert np.abs(heads - 2000 / 32).max() < 5 * np.sqrt(2000 / 32)


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


def test_kernel_distance_is_the_plain_mmd_where_subsets_hold_all_rows():
    x, y = (rng(seed).normal(seed / 4, 1, (60, 16)).astype(np.float32) for seed in (0, 1))
    value, deviation = kernel_distance(x, y, seed=0)
    assert value == pytest.approx(plain_mmd(x, y), rel=1e-4)
    assert deviation < 1e-5


def test_kernel_distance_averages_over_subsets(monkeypatch):
    monkeypatch.setattr(metrics, "KID_SUBSET_SIZE", 100)
    x, y = (rng(seed).normal(seed / 4, 1, (400, 16)).astype(np.float32) for seed in (0, 1))
    value, deviation = kernel_distance(x, y, seed=0)
    assert value == pytest.approx(plain_mmd(x, y), abs=4 * deviation / np.sqrt(50))
    assert deviation > 0
    assert kernel_distance(x, y, seed=0) == (value, deviation)


def test_kernel_distance_of_one_distribution_is_unbiased():
    values = [kernel_distance(*rng(seed).normal(size=(2, 50, 8)).astype(np.float32), seed=0)[0] for seed in range(40)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)
    assert min(values) < 0 < max(values)


# Reference


def stream(rows, batch=16):
    return (rows[start : start + batch] for start in range(0, len(rows), batch))


def test_reference_statistics_agree_with_one_shot_float64():
    rows = rng().gamma(2, 1, (2000, 12)).astype(np.float32)
    moments, _, _ = metrics.reference_statistics(stream(rows), 100, rng())
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("asked", "drawn"), [(30, 30), (300, 100)])
def test_the_floor_compares_drawn_images_with_all_the_others(asked, drawn):
    rows = rng().normal(size=(201, 6)).astype(np.float32)
    _, shuffled, floor = metrics.reference_statistics(stream(rows), asked, rng())
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, rows))  # all are kept, so both sides are known
    ours, others = shuffled[:drawn], shuffled[drawn:]
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (ours.astype(np.float64), others.astype(np.float64))]
    assert floor["floor_count"] == drawn
    assert floor["fid_floor"] == pytest.approx(frechet_distance(*moments[0], *moments[1]), rel=1e-9)
    assert floor["kid_floor"] == kernel_distance(ours, others, seed=0)[0]


def test_the_floor_holds_what_is_drawn_and_kept_in_memory_and_no_more(monkeypatch):
    held = []
    shuffled = Reservoir.shuffled
    monkeypatch.setattr(Reservoir, "shuffled", lambda reservoir: held.append(shuffled(reservoir)) or held[0])
    monkeypatch.setattr(metrics, "KID_FEATURES", 50)
    rows = rng().normal(size=(3000, 6)).astype(np.float32)
    moments, kept_rows, floor = metrics.reference_statistics(stream(rows), 400, rng())
    assert (moments.count, len(held[0]), len(kept_rows), floor["floor_count"]) == (3000, 450, 50, 400)
    drawn = {tuple(row) for row in held[0][:400]}
    rest = np.array([row for row in rows if tuple(row) not in drawn], dtype=np.float64)
    assert len(rest) == 2600
    ours = held[0][:400].astype(np.float64)
    statistics = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (ours, rest)]
    assert floor["fid_floor"] == pytest.approx(frechet_distance(*statistics[0], *statistics[1]), rel=1e-9)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_real_images(count):
    with pytest.raises(UserError, match=f"^reference images: found {count}: must be at least 4"):
        metrics.reference_statistics(stream(np.zeros((count, 2), np.float32)), 10, rng())


def make_reference(**changes):
    rows = rng().normal(size=(40, 6)).astype(np.float32)
    moments, kept_rows, floor = metrics.reference_statistics(stream(rows), 10, rng())
    values = {
        "name": "digits", "hash": "a" * 16, "features": "efficientnet-lite0", "features_hash": "b" * 16, "count": 40,
        "mu": moments.mean, "sigma": moments.covariance, "rows": kept_rows, **floor,
    }  # fmt: skip
    return Reference(**{**values, **changes})


def test_a_reference_survives_its_file(tmp_path):
    reference = make_reference()
    reference.save(tmp_path / "reference.npz")
    loaded = Reference.load(tmp_path / "reference.npz")
    for name, value in vars(reference).items():
        found = getattr(loaded, name)
        np.testing.assert_array_equal(found, value)
        assert type(found) is type(value)
    assert loaded.mu.dtype == loaded.sigma.dtype == np.float64


def test_a_file_that_is_no_reference(tmp_path):
    path = tmp_path / "reference.npz"
    with pytest.raises(UserError, match=r"reference\.npz: no such file$"):
        Reference.load(path)
    path.write_text("not an archive")
    with pytest.raises(UserError, match=r"reference\.npz: not an \.npz file of arrays"):
        Reference.load(path)
    np.savez(path, arr_0=np.zeros(3))
    with pytest.raises(UserError, match=r"reference\.npz: no name, hash, .* in it: must be a file that"):
        Reference.load(path)
    np.savez(path, arr_0=np.array([{}], dtype=object))  # pickled: never loaded
    with pytest.raises(UserError, match=r"reference\.npz: not an \.npz file of arrays"):
        Reference.load(path)


def test_score_says_when_a_covariance_is_singular():
    rows = rng(1).normal(size=(20, 6)).astype(np.float32)
    reference = make_reference()
    row = metrics.score(rows, reference)
    assert row["fid_rank_deficient"] is False
    assert row["fid"] > 0 and row["floor_count"] == 10 and row["fid_floor"] == reference.fid_floor
    assert metrics.score(rows[:6], reference)["fid_rank_deficient"] is True
    assert metrics.score(rows, make_reference(count=6))["fid_rank_deficient"] is True


def test_score_of_the_reference_itself_is_zero():
    reference = make_reference()
    row = metrics.score(reference.rows, reference)
    assert row["fid"] == pytest.approx(0, abs=1e-9)
    assert row["kid"] < 0  # unbiased: with the very same rows on both sides the cross term has the diagonal
