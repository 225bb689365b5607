"""A reservoir is a uniform sample, whatever the batches are."""

import numpy as np

from mpdit.evaluation.reservoir import Reservoir


def kept(size, count, batch, seed=0):
    reservoir = Reservoir(size, np.random.default_rng(seed))
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
