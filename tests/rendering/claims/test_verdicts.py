"""The rule that judges claims: each verdict of each kind of rule, and what must never influence one."""

import math

import pandas as pd
import pytest
from helpers.made_up_runs import entry
from helpers.made_up_studies import A80, SITES, cost_row, run, seeds, study
from helpers.paper_verdicts import judged_alone, judged_among_all, verdict_rows

from mpdit.rendering.claims.evidence import Finding
from mpdit.rendering.claims.judgment import judge
from mpdit.rendering.registry import CLAIMS, Claim
from mpdit.results.estimates import Estimate
from mpdit.system.errors import UserError


def claim(low=-math.inf, high=math.inf, unit="points") -> Claim:
    return Claim("made-up", "Made up", lambda *study: [], unit, low, high)


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ([-2.0, -2.1, -1.9], {"high": 0.0}, "holds"),
        ([2.0, 2.1, 1.9], {"high": 0.0}, "fails"),
        ([2.0, -2.1, 1.9], {"high": 0.0}, "undecided"),
        ([2.0, 2.1, 1.9], {"low": 0.0}, "holds"),
        ([-2.0, -2.1, -1.9], {"low": 0.0}, "fails"),
        ([0.1, -0.2, 0.1], {"low": -2.0, "high": 2.0}, "holds"),
        ([5.0, 5.2, 5.1], {"low": -2.0, "high": 2.0}, "fails"),
        ([-5.0, -5.2, -5.1], {"low": -2.0, "high": 2.0}, "fails"),
        ([1.5, -1.5, 0.5], {"low": -2.0, "high": 2.0}, "undecided"),  # no difference seen is no equivalence
        ([3.0, 1.9, 2.9], {"low": -2.0, "high": 2.0}, "undecided"),
        ([-2.0], {"high": 0.0}, "undecided"),
    ],
)
def test_means_over_seeds_are_judged_by_a_test(values, rule, expected):
    judgment = judge(claim(**rule), Finding(values=tuple(values)))
    assert judgment.outcome(judgment.p) == expected


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((0.0, -1.0, 1.0), "holds"), ((0.0, -3.0, 1.0), "undecided"), ((3.0, 2.5, 4.0), "fails")],
)
def test_intervals_of_rounds_are_tested_like_everything_else(interval, expected):
    finding = Finding(interval=interval, estimate=Estimate.from_interval(*interval, rounds=40))
    judgment = judge(claim(-2.0, 2.0), finding)
    assert judgment.outcome(judgment.p) == expected
    assert 0 < judgment.p < 1
    assert judgment.outcome(1.0) == "undecided"  # after a correction for many others
    one_seed = judge(claim(-2.0, 2.0), Finding(interval=interval, seeds=1))
    assert one_seed.outcome(math.nan) == "undecided"


def test_what_is_counted_has_no_error():
    judgment = judge(claim(-2.0, 2.0), Finding(interval=(-3.0,) * 3, estimate=Estimate.exact(-3.0)))
    assert (judgment.p, judgment.outcome(0.0)) == (0.0, "fails")


@pytest.mark.parametrize(
    ("counts", "p", "outcome"),
    [
        ((6, 6, 0, 6), 2 / 924, "holds"),
        ((0, 6, 6, 6), 2 / 924, "fails"),
        ((3, 5, 1, 5), 0.5238095, "undecided"),
        ((2, 5, 2, 5), 1.0, "undecided"),
    ],
)
def test_only_how_often_runs_diverge_is_compared(counts, p, outcome):
    """The scores of the runs that are left would say the opposite."""
    left = Finding(values=(-9.0, -9.1, -9.2, math.inf), divergences=counts)
    judgment = judge(claim(low=0.0), left)
    assert (judgment.p, judgment.outcome(judgment.p)) == (pytest.approx(p), outcome)
    size = judge(claim(-2.0, 2.0), left)
    assert size.outcome(size.p) == "undecided" and "seeds that do not diverge" in size.finding.needs


def test_fewer_than_five_runs_cannot_show_how_often_they_diverge():
    judgment = judge(claim(low=0.0), Finding(values=(math.inf,) * 4, divergences=(4, 4, 0, 4)))
    assert judgment.outcome(judgment.p) == "undecided"
    assert judgment.finding.needs.startswith("5 or more seeds")


def test_bounds_are_in_the_unit_of_the_claim():
    """-12.8 % is a logarithm of log(0.872), a factor of 2 one of log 2."""
    tight = [math.log(0.872) + shift for shift in (-1e-4, 0.0, 1e-4)]
    judgment = judge(claim(-12.9, -12.7, "%"), Finding(values=tuple(tight)))
    assert judgment.outcome(judgment.p) == "holds"
    judgment = judge(claim(low=2.0, unit="×"), Finding(values=(math.log(1.9), math.log(1.91), math.log(1.9))))
    assert judgment.outcome(judgment.p) == "fails"


def test_a_percentage_with_its_interval_by_hand():
    """Ratios 0.9 and 0.8: logs -0.105361 and -0.223144, mean -0.164252, standard error 0.0588915, t 12.7062."""
    row = judged_alone("preservation", *seeds("A", 100.0, 50.0), *seeds("E", 90.0, 40.0))
    reach = 12.7062 * 0.0588915
    expected = [100 * math.expm1(-0.164252 + shift) for shift in (0.0, -reach, reach)]
    assert [row["ours"], row["low"], row["high"]] == pytest.approx(expected, rel=1e-4)
    assert (row["n"], row["verdict"]) == (2, "undecided")
    assert row["p"] == row["p_holm"]


def test_with_one_seed_every_claim_about_methods_is_undecided():
    configs = [run(config, 0, 50.0 + i) for i, config in enumerate(("E", "E-leaky", "C", "D", "A", "B"))]
    modulations = ("scale_rotate", "scale", "rotate", "rotate_full")
    kinds = [run("E", 0, 50.0 + i, modulation=kind) for i, kind in enumerate(modulations)]
    rates = [run("E", 0, 90.0, lr=1e-3, standard_lr=False), run("A", 0, 90.0, lr=2e-2, standard_lr=False)]
    curves = [(config, 0, curve, (1.0, 5.0, 9.0)) for config in "ACDE" for curve in SITES]
    cost = pd.DataFrame([cost_row(1.08, 1.06, 1.1), cost_row(1.02, 1.0, 1.04, "cheap")])
    frame = verdict_rows(study(*configs, *kinds, *rates, curves=curves, cost=cost))
    counted = {"rotation-parameters": "fails", "time-textbook": "holds", "time-cheap": "holds"}
    no_losses = dict.fromkeys((name for name in CLAIMS if name.startswith("loss-")), "not run")
    assert (
        dict(zip(frame["claim"], frame["verdict"], strict=True))
        == dict.fromkeys(CLAIMS, "undecided") | counted | no_losses
    )
    methods = frame[~frame["claim"].isin({**counted, **no_losses})]
    assert methods["decides"].str.startswith("at least 2 seeds").all()
    assert methods["p"].isna().all()
    assert (methods["n"] == 1).all()


def test_holm_corrects_over_all_claims_that_are_tested():
    """Alone it holds; among others of the same study it must stand a stricter level."""
    runs = [*seeds("A", 80.0, 81.0, 79.0), *seeds("E", 78.0, 78.5, 77.9)]
    row = judged_alone("preservation", *runs)
    assert (row["verdict"], row["p"]) == ("holds", row["p_holm"])
    curves = [(config, seed, c, (1.0, 1.0, 1.0 + seed)) for config in "AE" for seed in range(3) for c in SITES]
    among = judged_among_all("preservation", *runs, curves=curves)
    frame = verdict_rows(study(*runs, curves=curves))
    tests = frame["p"].notna().sum()
    assert tests == 9  # direction, size, and seven of magnitudes
    smallest = frame["p"].rank().loc[frame["claim"] == "preservation"].item()
    assert among["p_holm"] >= row["p"] * (tests - smallest + 1) * (1 - 1e-12)
    assert among["verdict"] == ("holds" if among["p_holm"] < 0.05 else "undecided")
    open_claim = judged_alone("preservation", *A80, *seeds("E", 60.0, 99.0, 70.0))
    assert "seeds, if their spread stays the same" in open_claim["decides"]


def test_what_is_not_run_says_what_would_decide_it():
    frame = verdict_rows(study(run("A", 0, status="missing"), run("E", 0, status="running")))
    assert set(frame["verdict"]) == {"not run"}
    assert frame["decides"].str.len().min() > 5
    by_name = frame.set_index("claim")["decides"]
    assert by_name["preservation"] == "scores at the last step on the same seeds (E: 1 running; A: 1 missing)"
    assert by_name["forcing-score"] == "runs of Config D with scale + shift and runs of Config C with scale + shift"


def test_two_runs_of_one_setting_and_seed_are_refused():
    twin = entry("A") | {"run": "another-name"}
    with pytest.raises(UserError, match="must be one run per setting and seed"):
        verdict_rows(study(run("A", 0, 1.0), (twin, "trained", [])))
