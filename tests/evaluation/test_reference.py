"""References: statistics and floor of a stream of features, their file, and what precomputed statistics lack."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from helpers.damage import flip_bit
from helpers.references import batches_of, random_reference

from mpdit.evaluation import reference as reference_module
from mpdit.evaluation.metrics import frechet_distance, kernel_distance
from mpdit.evaluation.reference import Reference, precomputed_reference, reference_statistics
from mpdit.evaluation.reservoir import Reservoir
from mpdit.system.errors import UserError


def rng(seed=0):
    return np.random.default_rng(seed)


# Statistics and floor


def test_statistics_of_a_stream_agree_with_one_shot_float64():
    rows = rng().gamma(2, 1, (2000, 12)).astype(np.float32)
    moments = reference_statistics(batches_of(rows), 100, rng()).moments
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("count", "held_back"), [(30, 30), (300, 100)])
def test_the_floor_compares_held_back_images_with_all_the_others(count, held_back):
    rows = rng().normal(size=(201, 6)).astype(np.float32)
    _, shuffled, floor, _ = reference_statistics(batches_of(rows), count, rng())
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, rows))  # all are kept, so both sides are known
    ours, others = shuffled[:held_back], shuffled[held_back:]
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (ours.astype(np.float64), others.astype(np.float64))]
    assert floor.count == held_back
    assert floor.fid == pytest.approx(frechet_distance(*moments[0], *moments[1]), rel=1e-9)
    assert floor.kid == kernel_distance(ours, others, seed=0)[0]


def test_memory_holds_the_floors_rows_and_those_for_kid_and_no_more(monkeypatch):
    held = []
    shuffled = Reservoir.shuffled
    monkeypatch.setattr(Reservoir, "shuffled", lambda reservoir: held.append(shuffled(reservoir)) or held[0])
    monkeypatch.setattr(reference_module, "KID_FEATURES", 50)
    rows = rng().normal(size=(3000, 6)).astype(np.float32)
    moments, kept_rows, floor, _ = reference_statistics(batches_of(rows), 400, rng())
    assert (moments.count, len(held[0]), len(kept_rows), floor.count) == (3000, 450, 50, 400)
    held_back = {tuple(row) for row in held[0][:400]}
    rest = np.array([row for row in rows if tuple(row) not in held_back], dtype=np.float64)
    assert len(rest) == 2600
    ours = held[0][:400].astype(np.float64)
    statistics = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (ours, rest)]
    assert floor.fid == pytest.approx(frechet_distance(*statistics[0], *statistics[1]), rel=1e-9)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_real_images_are_refused(count):
    with pytest.raises(UserError, match=f"^reference: {count} real images: must be at least 4"):
        reference_statistics(batches_of(np.zeros((count, 2), np.float32)), 10, rng())


# The file


def assert_same(one, other):
    for name, value in vars(one).items():
        np.testing.assert_array_equal(getattr(other, name), value)
        assert type(getattr(other, name)) is type(value)


def test_a_reference_survives_its_file(tmp_path):
    reference = random_reference()
    reference.save(tmp_path / "reference.npz")
    loaded = Reference.load(tmp_path / "reference.npz")
    assert_same(reference, loaded)
    assert loaded.mu.dtype == loaded.sigma.dtype == np.float64
    precomputed = replace(reference, count=None, rows=reference.rows[:0], floor=None)
    precomputed.save(tmp_path / "precomputed.npz")
    assert_same(precomputed, Reference.load(tmp_path / "precomputed.npz"))


def test_the_file_is_flat_and_marks_unknown_values_as_nan(tmp_path):
    random_reference().save(tmp_path / "reference.npz")
    with np.load(tmp_path / "reference.npz") as arrays:
        assert arrays.files == [
            "name", "hash", "features", "features_hash", "count", "mu", "sigma", "rows", "fid_floor", "kid_floor",
            "floor_count",
        ]  # fmt: skip
        assert (arrays["count"].dtype, arrays["floor_count"].dtype) == (np.int64, np.int64)
    random_reference(count=None, floor=None).save(tmp_path / "precomputed.npz")
    with np.load(tmp_path / "precomputed.npz") as arrays:
        assert all(np.isnan(arrays[name]) for name in ("count", "fid_floor", "kid_floor", "floor_count"))


def test_a_file_that_is_no_reference_is_refused(tmp_path):
    path = tmp_path / "reference.npz"
    with pytest.raises(UserError, match=r"reference\.npz: no such file$"):
        Reference.load(path)
    path.write_text("not an archive")
    with pytest.raises(UserError, match=r"reference\.npz: damaged, or not an \.npz file of arrays"):
        Reference.load(path)
    np.savez(path, arr_0=np.zeros(3))
    with pytest.raises(
        UserError, match=r"reference\.npz: no array 'count': must be a file that `mpdit reference` wrote"
    ):
        Reference.load(path)
    np.savez(path, arr_0=np.array([{}], dtype=object))  # pickled: never loaded
    with pytest.raises(UserError, match=r"reference\.npz: damaged, or not an \.npz file of arrays"):
        Reference.load(path)


def test_precomputed_statistics_are_a_reference_named_and_hashed_by_their_file(tmp_path):
    path = tmp_path / "adm.npz"
    np.savez(path, mu=np.arange(6.0), sigma=np.eye(6))
    reference = precomputed_reference(path, "inception", "f" * 16, 6)
    assert (reference.name, reference.hash) == ("adm.npz", hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    assert (reference.features, reference.features_hash) == ("inception", "f" * 16)
    assert (reference.count, reference.floor, reference.rows.shape) == (None, None, (0, 6))
    np.testing.assert_array_equal(reference.mu, np.arange(6.0))


def test_a_flipped_bit_in_the_file_is_one_line(tmp_path):
    path = tmp_path / "reference" / "digits.npz"
    random_reference().save(path)
    Reference.load(path)
    flip_bit(path)
    message = r"digits.npz: damaged: its content is not .*; delete it and run `snakemake"
    with pytest.raises(UserError, match=message):
        Reference.load(path)
