"""Correlated inputs: what `benchmarks/correlation.py` prints of each primitive."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from mpdit.model.layers import mp_coefficients

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "correlation.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("correlation", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# M[f(x)] / M[x] at correlations 0, 0.5, 0.9, 0.99. What holds for any correlation stays at 1.
RATIOS = {
    "rotation (Lemma 2)": (1, 1, 1, 1),
    "linear (Lemma 3), all rows": (1, 1, 1, 0.98),
    "linear, lowest row": (1, 0.89, 0.74, 0.39),
    "linear, highest row": (1, 1.09, 1.29, 2.08),
    "linear, worst possible row": (1, 1.73, 4.35, 12.3),
    "residual sum (Lemma 4), t = 0.3": (1, 1.17, 1.29, 1.31),
    "embedding sum (Lemma 4), t = 0.5": (1, 1.22, 1.38, 1.41),
    "SiLU (Lemma 5)": (1, 1, 1, 1),
    "leaky ReLU (Lemma 6)": (1, 1, 1, 1),
    "cosine attention, 64 tokens": (0.20, 0.28, 0.57, 0.92),
}


@pytest.mark.parametrize("index", range(4))
def test_ratios_stay_as_measured(benchmark, index):
    correlation = benchmark.CORRELATIONS[index]
    ratios = benchmark.magnitude_ratios(correlation)
    assert ratios == pytest.approx({name: row[index] for name, row in RATIOS.items()}, rel=0.02)
    assert ratios["rotation (Lemma 2)"] == pytest.approx(1, abs=1e-12)
    for name, t in (("residual sum (Lemma 4), t = 0.3", 0.3), ("embedding sum (Lemma 4), t = 0.5", 0.5)):
        keep, add = mp_coefficients(t)
        assert ratios[name] == pytest.approx(math.sqrt(1 + 2 * keep * add * correlation), rel=0.01)


def test_neighbors_have_the_given_correlation(benchmark):
    covariance = benchmark.chain(5, 0.5)
    assert covariance[0].tolist() == [1, 0.5, 0.25, 0.125, 0.0625]
    assert torch.equal(covariance, covariance.T)
    assert torch.equal(benchmark.chain(5, 0.0), torch.eye(5, dtype=torch.float64))
