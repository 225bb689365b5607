"""Simulated studies (`benchmarks/power.py`): judged by the rules of `mpdit.results`, which err as rarely as they may.

The shares are read from what the quick version prints.
"""

import contextlib
import importlib.util
import io
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mpdit.rendering.claims.evidence import Finding
from mpdit.rendering.claims.judgment import judge
from mpdit.rendering.registry import Claim
from mpdit.results.estimates import LEVEL, Estimate, loss_estimate
from mpdit.results.significance import holm_by_family

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "power.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("power", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The rules


@pytest.mark.parametrize("n", [2, 5])
def test_studies_are_judged_by_the_rules_of_the_package(benchmark, n):
    claims = benchmark.MIXED
    values = benchmark.differences(np.random.default_rng(n), 50, n, claims, benchmark.UNEQUAL)
    tests = benchmark.judge_seeds(values, claims)
    decided = benchmark.verdicts(tests)
    for study in range(50):
        p_values, sides = [], []
        for claim, seeds in zip(claims, values[study].tolist(), strict=True):
            estimate, bounds = Estimate.over_seeds(seeds), (claim.low, claim.high)
            holds = claim.low < estimate.mean < claim.high
            p_values.append((estimate.p_inside if holds else estimate.p_outside)(*bounds))
            sides.append(1 if holds else -1)
        assert tests.p[study].tolist() == pytest.approx(p_values)
        corrected = holm_by_family(p_values, ["primary"] * 4)
        assert decided[study].tolist() == [
            side if p < LEVEL else 0 for side, p in zip(sides, corrected, strict=True)
        ]  # fmt: skip


def test_studies_are_judged_as_claims_are(benchmark):
    claims = [Claim("", "", None, "points", low=each.low, high=each.high) for each in benchmark.MIXED]
    values = benchmark.differences(np.random.default_rng(0), 20, 3, benchmark.MIXED, benchmark.ALIKE)
    tests = benchmark.judge_seeds(values, benchmark.MIXED)
    for study in range(20):
        for i, claim in enumerate(claims):
            judgment = judge(claim, Finding(values=tuple(values[study, i].tolist())))
            assert judgment.p == pytest.approx(tests.p[study, i])
            assert judgment.side == ("holds" if tests.sides[study, i] > 0 else "fails")


@pytest.mark.parametrize("n", [4, 6])
def test_divergences_are_judged_as_claims_are(benchmark, n):
    rng = np.random.default_rng(n)
    tests = benchmark.divergences(rng, 30, n)
    rng = np.random.default_rng(n)
    benchmark.differences(rng, 30, n, benchmark.NULL, benchmark.ALIKE)
    counts = (rng.random((30, 5, n)) < 0.1).sum(-1)
    claim = Claim("", "", None, "points", high=0.0)
    compared = [(study, i) for study in range(30) for i in range(4) if counts[study, 1 + i] + counts[study, 0]]
    assert len(compared) > 30
    for study, i in compared:
        judgment = judge(claim, Finding(divergences=(int(counts[study, 1 + i]), n, int(counts[study, 0]), n)))
        assert judgment.p == pytest.approx(tests.p[study, i], nan_ok=True)
        if n >= 5:
            assert judgment.side == {1: "holds", -1: "fails", 0: None}[int(tests.sides[study, i])]


def test_errors_of_images_are_joined_as_in_the_package(benchmark):
    rng = np.random.default_rng(0)
    values, images = rng.normal(0.5, 1, (20, 3)), rng.normal(0.5, 4, (20, 30))
    own, other = stats.sem(values, axis=1), stats.sem(images, axis=1)
    tails = benchmark.joint_tail(values.mean(1), own, 2.0, other, 29.0)
    expected = [loss_estimate(*map(list, pair)).p_at_most(0.0) for pair in zip(values, images, strict=True)]
    assert tails == pytest.approx(expected)


def test_intervals_are_tested_as_in_the_package(benchmark):
    rng = np.random.default_rng(0)
    estimate = rng.normal(0, 1, 20)
    low, high = estimate - rng.uniform(0.1, 2, 20), estimate + rng.uniform(0.1, 2, 20)
    p_values, below = benchmark.p_of_interval(estimate, low, high, 0.0)
    for i, p in enumerate(p_values):
        ours = Estimate.from_interval(estimate[i], low[i], high[i], rounds=40)
        assert p == pytest.approx(ours.p_inside(high=0.0) if below[i] else ours.p_outside(high=0.0))


def test_claims_that_were_not_tested_count_for_nothing(benchmark):
    corrected = benchmark.holm(np.array([[0.03, math.nan, 0.01, math.nan]]))
    assert corrected[0, [0, 2]].tolist() == pytest.approx([0.03, 0.02])
    assert np.isnan(corrected[0, [1, 3]]).all()


def test_which_verdicts_are_wrong(benchmark):
    claim = benchmark.Claim
    assert claim(-1.0).wrong_sides == (-1,) and claim(1.0).wrong_sides == (1,)
    assert claim(0.0).wrong_sides == (1, -1)  # it differs in neither direction
    assert claim(0.0, -1.0, 1.0).wrong_sides == (-1,)
    assert claim(1.0, -1.0, 1.0).wrong_sides == claim(2.0, -1.0, 1.0).wrong_sides == (1,)


def test_the_share_that_is_decided_is_that_of_the_noncentral_t(benchmark):
    for n in (3, 5):
        share = benchmark.decided_share(benchmark.Claim(-2.0), (), n, 4000)
        critical = stats.t.ppf(0.975, n - 1)
        assert share == pytest.approx(stats.nct.sf(critical, n - 1, 2 * math.sqrt(n)), abs=0.03)
    needed = benchmark.smallest_effect(5, 4, 4000)
    assert stats.nct.sf(stats.t.ppf(1 - 0.025 / 4, 4), 4, needed * math.sqrt(5)) == pytest.approx(0.8, abs=0.03)


# The tables


@pytest.fixture(scope="module")
def tables(benchmark):
    """The tables of the quick version: a list of {row: cells}."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        benchmark.main(["--quick"])
    lines = output.getvalue().splitlines()
    tables: list[dict[str, list[str]]] = []
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append({})
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            tables[-1][name] = cells
    return tables


def test_the_page_shows_the_tables_of_the_benchmark(benchmark):
    page = (SCRIPT.parents[1] / "docs" / "explanation" / "power.md").read_text()
    rows = [line.strip("| ").split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]
    assert {scenario.name for scenario in benchmark.SCENARIOS} <= set(rows)
    assert {f"{effect:g}" for effect in benchmark.EFFECTS} <= set(rows)


@pytest.mark.slow
def test_no_kind_of_study_errs_more_often_than_it_may(benchmark, tables):
    shares = {name: list(map(float, cells)) for name, cells in tables[0].items() if name not in ("seeds", "---")}
    assert set(shares) == {scenario.name for scenario in benchmark.SCENARIOS if not scenario.flawed}
    too_often = {name: row for name, row in shares.items() if max(row) > 100 * benchmark.MOST_WRONG}
    assert too_often == {}
    assert max(map(max, shares.values())) > 4  # they do err: a simulation that cannot fail shows nothing


@pytest.mark.slow
def test_rules_that_were_given_up_err_too_often(benchmark, tables):
    shares = {name: list(map(float, cells)) for name, cells in tables[1].items() if name not in ("seeds", "---")}
    assert set(shares) == {scenario.name for scenario in benchmark.SCENARIOS if scenario.flawed}
    assert all(max(row) > 100 * benchmark.MOST_WRONG for row in shares.values())


@pytest.mark.slow
def test_more_seeds_decide_more(tables):
    for row in [cells for name, cells in tables[2].items() if name[0].isdigit()]:
        alone, among_four = ([int(cell.split(" / ")[i]) for cell in row] for i in (0, 1))
        assert alone == sorted(alone) and among_four == sorted(among_four)
        assert all(first >= second for first, second in zip(alone, among_four, strict=True))
    for name, row in tables[3].items():
        if "spreads" in name:
            sizes = list(map(float, row))
            assert sizes == sorted(sizes, reverse=True)
    assert tables[4]["diverged"] == ["4 / 5", "5 / 6"]
