"""Verdicts on made-up studies: each verdict of each kind of rule, and what must never sway one."""

import math
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.made_up_runs import entry
from helpers.made_up_studies import INCEPTION, SITES, cost_row, run, seeds, study

from mpdit import paper
from mpdit.experiment.columns import AGGREGATES, SCHEMAS
from mpdit.experiment.grid import Experiment
from mpdit.paper.claims import CLAIMS
from mpdit.rendering import table_format as tables
from mpdit.rendering.claims.evidence import Finding
from mpdit.rendering.claims.verdicts import COLUMNS, Claim, judge, verdicts
from mpdit.results.summary import require_one_run_per_seed
from mpdit.results.tables import empty_table
from mpdit.system.errors import UserError

A80 = seeds("A", 80.0, 81.0, 79.0, 80.5)
NAMES = [claim.name for claim in CLAIMS]


def judged(name: str, *runs, model=None, **more) -> dict:
    """The row of one claim of CLAIMS on a study; the others are judged beside it."""
    frame = verdicts(CLAIMS, study(*runs, **more))
    rows = frame[frame["claim"] == name]
    (row,) = (rows if model is None else rows[rows["model"] == model]).to_dict("records")
    return row


def alone(name: str, *runs, **more) -> dict:
    """The row of one claim, judged alone: no correction."""
    (row,) = verdicts([CLAIMS[NAMES.index(name)]], study(*runs, **more)).to_dict("records")
    return row


# ---------------------------------------------------------------------------------------------------------------------
# The rule


def claim(low=-math.inf, high=math.inf, unit="points") -> Claim:
    return Claim("made-up", "Made up", "", lambda *study: [], unit, low, high)


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
def test_means_of_seeds(values, rule, expected):
    found = judge(claim(**rule), Finding(values=tuple(values)))
    assert found.verdict(found.p) == expected


@pytest.mark.parametrize(
    ("interval", "expected"),
    [((0.0, -1.0, 1.0), "holds"), ((0.0, -3.0, 1.0), "undecided"), ((3.0, 2.5, 4.0), "fails"), ((-3.0,) * 3, "fails")],
)
def test_intervals_and_counts(interval, expected):
    found = judge(claim(-2.0, 2.0), Finding(interval=interval))
    assert found.verdict(math.nan) == expected
    one_seed = judge(claim(-2.0, 2.0), Finding(interval=interval, seeds=1))
    assert one_seed.verdict(math.nan) == "undecided"


def test_seeds_that_diverge_have_a_sign_only():
    worse = Finding(values=(1.0, *[math.inf] * 6))
    found = judge(claim(low=0.0), worse)
    assert found.p == 2 / 2**7
    assert (found.verdict(found.p), judge(claim(high=0.0), worse).verdict(0.01)) == ("holds", "fails")
    assert judge(claim(-2.0, 2.0), worse).verdict(math.nan) == "undecided"  # no size


def test_bounds_are_in_the_unit_of_the_claim():
    """-12.8 % is a logarithm of log(0.872), a factor of 2 one of log 2."""
    tight = [math.log(0.872) + shift for shift in (-1e-4, 0.0, 1e-4)]
    found = judge(claim(-12.9, -12.7, "%"), Finding(values=tuple(tight)))
    assert found.verdict(found.p) == "holds"
    found = judge(claim(low=2.0, unit="×"), Finding(values=(math.log(1.9), math.log(1.91), math.log(1.9))))
    assert found.verdict(found.p) == "fails"


def test_claims_are_data_a_reader_can_trust():
    assert len(set(NAMES)) == len(NAMES)
    for entry_ in CLAIMS:
        assert entry_.unit in ("%", "×", "points")
        assert entry_.low < entry_.high
        assert math.isfinite(entry_.low) or math.isfinite(entry_.high)


# ---------------------------------------------------------------------------------------------------------------------
# Scores


@pytest.mark.parametrize(
    ("e", "direction", "size"),
    [
        ((69.8, 70.7, 68.9, 70.1), "holds", "holds"),  # about 12.8 % lower
        ((40.0, 40.6, 39.4, 40.3), "holds", "fails"),  # half
        ((85.0, 86.2, 83.7, 85.4), "fails", "fails"),
        ((60.0, 99.0, 70.0, 79.0), "undecided", "undecided"),
    ],
)
def test_direction_and_size_of_preservation_are_judged_apart(e, direction, size):
    runs = [*A80, *seeds("E", *e)]
    assert judged("preservation", *runs)["verdict"] == direction
    assert judged("preservation-size", *runs)["verdict"] == size


def test_a_percentage_with_its_interval_by_hand():
    """Ratios 0.9 and 0.8: logs -0.105361 and -0.223144, mean -0.164252, standard error 0.0588915, t 12.7062."""
    row = alone("preservation", *seeds("A", 100.0, 50.0), *seeds("E", 90.0, 40.0))
    reach = 12.7062 * 0.0588915
    expected = [100 * math.expm1(-0.164252 + shift) for shift in (0.0, -reach, reach)]
    assert [row["ours"], row["low"], row["high"]] == pytest.approx(expected, rel=1e-4)
    assert (row["n"], row["verdict"]) == (2, "undecided")
    assert row["p"] == row["p_holm"]


def test_pairs_are_of_the_same_seed():
    """Seeds move both letters by tens, E against A by a little: only pairs see it. The order of runs is nothing."""
    a, e = seeds("A", 80.0, 120.0, 40.0), seeds("E", 79.0, 118.9, 39.4)
    assert alone("preservation", *a, *e)["verdict"] == "holds"
    assert alone("preservation", *reversed(e), *a)["verdict"] == "holds"
    moved = [run("E", seed, fid) for seed, fid in enumerate((118.9, 39.4, 79.0))]
    assert alone("preservation", *a, *moved)["verdict"] == "undecided"


def test_what_one_seed_alone_has_is_no_pair():
    row = alone("preservation", *A80, *seeds("E", 69.0, None, 68.0))
    assert row["n"] == 2
    assert "2 of 2 seeds" not in row["setting"]
    running = run("E", 1, status="running")
    row = alone("preservation", *A80, *seeds("E", 69.0, None, 68.0), running)
    assert (row["n"], row["setting"]) == (2, "E (2e-2) against A (1e-3), scale + shift; 2 of 3 seeds")


def test_with_one_seed_every_claim_about_methods_is_undecided():
    letters = [run(letter, 0, fid) for letter, fid in zip("ACDE", (80.0, 60.0, 64.0, 50.0), strict=True)]
    kinds = [run("E", 0, 50.0 + i, modulation=kind) for i, kind in enumerate(("scale_rotate", "scale"))]
    rates = [run("E", 0, 90.0, lr=1e-3, standard_lr=False), run("A", 0, 90.0, lr=2e-2, standard_lr=False)]
    curves = [(letter, 0, curve, (1.0, 5.0, 9.0)) for letter in "ACDE" for curve in SITES]
    cost = pd.DataFrame([cost_row(1.08, 1.06, 1.1), cost_row(1.02, 1.0, 1.04, "cheap")])
    frame = verdicts(CLAIMS, study(*letters, *kinds, *rates, curves=curves, cost=cost))
    counted = {"rotation-parameters": "fails", "time-textbook": "holds", "time-cheap": "holds"}
    assert dict(zip(frame["claim"], frame["verdict"], strict=True)) == dict.fromkeys(NAMES, "undecided") | counted
    methods = frame[~frame["claim"].isin(counted)]
    assert methods["decides"].str.startswith("2 seeds at least").all()
    assert methods["p"].isna().all()
    assert (methods["n"] == 1).all()


def test_holm_corrects_over_all_claims_that_are_tested():
    """Alone it holds; among others of the same study it must stand a stricter level."""
    runs = [*seeds("A", 80.0, 81.0, 79.0), *seeds("E", 78.0, 78.5, 77.9)]
    row = alone("preservation", *runs)
    assert (row["verdict"], row["p"]) == ("holds", row["p_holm"])
    curves = [(letter, seed, c, (1.0, 1.0, 1.0 + seed)) for letter in "AE" for seed in range(3) for c in SITES]
    among = judged("preservation", *runs, curves=curves)
    frame = verdicts(CLAIMS, study(*runs, curves=curves))
    tests = frame["p"].notna().sum()
    assert tests == 5  # direction, size, and three of magnitudes
    smallest = frame["p"].rank().loc[frame["claim"] == "preservation"].item()
    assert among["p_holm"] >= row["p"] * (tests - smallest + 1) * (1 - 1e-12)
    assert among["verdict"] == ("holds" if among["p_holm"] < 0.05 else "undecided")
    assert "seeds, if they spread as these do" in alone("preservation", *A80, *seeds("E", 60.0, 99.0, 70.0))["decides"]


def test_modulations_and_the_margin():
    shift = seeds("E", 69.0, 70.0, 69.5)
    near = seeds("E", 69.4, 70.5, 69.9, modulation="scale_rotate")
    far = seeds("E", 79.4, 80.5, 79.9, modulation="scale_rotate")
    scale = seeds("E", 72.0, 73.1, 72.4, modulation="scale")
    assert [
        alone(name, *shift, *near, *scale)["verdict"]
        for name in ("shift-over-rotation", "rotation-over-scale", "rotation-margin")
    ] == ["holds"] * 3
    assert alone("rotation-margin", *shift, *far)["verdict"] == "fails"
    assert alone("rotation-over-scale", *far, *scale)["verdict"] == "fails"
    row = alone("rotation-margin", *shift, *near)
    assert row["ours"] == pytest.approx((0.4 + 0.5 + 0.4) / 3)
    assert row["setting"] == "E (2e-2), scale + rotate against scale + shift"
    assert alone("rotation-margin", *shift)["decides"] == "runs of E with scale + rotate"


def deficient(fid, kid):
    return {"fid": fid, "kid": kid, "fid_rank_deficient": True, "count": 1000}


def test_fewer_samples_than_features_and_kid_decides():
    """FID says E is better, KID that it is worse: KID is right. Sizes of FID stay open."""
    a, e = seeds("A", *[deficient(80.0, 0.1)] * 3), seeds("E", *[deficient(60.0, kid) for kid in (0.12, 0.13, 0.121)])
    row = judged("preservation", *a, *e)
    assert (row["verdict"], row["metric"]) == ("fails", "KID")
    size = judged("preservation-size", *a, *e)
    assert size["verdict"] == "undecided"
    assert "KID decides no size of FID" in size["decides"]
    assert "the kernel distance decides" in " ".join(paper.claims.claims(study(*a, *e)).notes)


def test_a_kid_that_is_not_above_zero_has_no_ratio():
    a, e = seeds("A", *[deficient(80.0, 0.1)] * 2), seeds("E", *[deficient(60.0, kid) for kid in (0.12, -0.001)])
    row = alone("preservation", *a, *e)
    assert row["verdict"] == "undecided"
    assert row["decides"].startswith("more samples")
    assert math.isnan(row["ours"])


def test_fewer_samples_than_features_and_no_kid_decide_nothing():
    """Precomputed statistics have no KID."""
    runs = [*seeds("A", *[deficient(80.0, math.nan)] * 3), *seeds("E", *[deficient(60.0, math.nan)] * 3)]
    row = alone("preservation", *runs)
    assert (row["verdict"], row["metric"]) == ("undecided", "FID")
    assert row["decides"] == "more samples than features, or KID beside: FID is biased"


def test_other_features_decide_no_size_of_fid():
    lite = {"features": "efficientnet-lite0", "features_hash": "fe"}
    runs = [*seeds("A", *[{"fid": 80.0, **lite}] * 2), *seeds("E", *[{"fid": 69.8, **lite}] * 2)]
    assert alone("preservation", *runs)["metric"] == "FD (EfficientNet-Lite0)"
    assert alone("preservation-size", *runs)["verdict"] == "undecided"


def test_counts_and_features_never_meet():
    """A has 10,000 samples only, E 5,000 only; and where both have both there are two rows."""
    less = [{"fid": 60.0 + seed, "count": 5_000} for seed in range(3)]
    assert alone("preservation", *A80, *seeds("E", *less))["verdict"] == "not run"
    both = [run(letter, seed, 70.0 + seed, less[seed]) for letter in "AE" for seed in range(3)]
    frame = verdicts(CLAIMS[:1], study(*both))
    assert len(frame) == 2
    assert [protocol.count("samples") for protocol in frame["protocol"]] == [1, 1]
    assert "protocol" in paper.claims.claims(study(*both)).header


def test_only_the_last_step_counts():
    early = [{"fid": 10.0, "step": 50}, {"fid": 90.0, "step": 100}]
    a = [run("A", seed, {"fid": 80.0 + seed, "step": 50}, {"fid": 80.0 + seed}) for seed in range(3)]
    assert alone("preservation", *a, *(run("E", seed, *early) for seed in range(3)))["verdict"] == "fails"
    assert alone("preservation", *a, *(run("E", seed, early[0]) for seed in range(3)))["verdict"] == "not run"


# ---------------------------------------------------------------------------------------------------------------------
# EMA widths and sampling seeds


def swept(config, seed, scores: dict) -> tuple:
    """A run with a score of each (width, sampling seed)."""
    rows = [{"fid": fid, "ema_width": width, "sampling_seed": draw} for (width, draw), fid in scores.items()]
    return run(config, seed, *rows)


def lucky(seed: int) -> dict:
    """At each sampling seed the other width is the lucky one: to choose on what is reported would find 10, not 20."""
    return {(w, d): (10.0 if (w == 0.05) == (d == 0) else 20.0) + 0.01 * seed for w in (0.05, 0.1) for d in (0, 1)}


def test_the_width_is_chosen_on_other_sampling_seeds_than_those_reported():
    steady = {(width, draw): 15.0 for width in (0.05, 0.1) for draw in (0, 1)}
    runs = [swept("A", s, lucky(s)) for s in range(3)] + [swept("E", s, steady) for s in range(3)]
    row = alone("preservation", *runs)
    assert row["ours"] == pytest.approx(100 * (15 / 20.01 - 1), abs=0.01)  # against 20, not 10
    assert row["verdict"] == "holds"
    assert row["ema_width"] == "0.05 and 0.05/0.1, chosen"
    assert row["sampling_seeds"] == 2
    assert (row["fixed_width"], row["fixed_ours"]) == ("0.05", pytest.approx(100 * (15 / 15.01 - 1), abs=0.01))


def test_each_letter_is_judged_at_its_own_width():
    """A is best at 0.05, E at 0.1; at 0.05 alone E would lose."""
    a = {(0.05, 0): 50.0, (0.05, 1): 51.0, (0.1, 0): 70.0, (0.1, 1): 71.0}
    e = {(0.05, 0): 60.0, (0.05, 1): 61.0, (0.1, 0): 40.0, (0.1, 1): 41.0}
    runs = [swept(c, s, {k: v + s for k, v in x.items()}) for c, x in (("A", a), ("E", e)) for s in range(3)]
    row = alone("preservation", *runs)
    assert (row["verdict"], row["ema_width"]) == ("holds", "0.1 and 0.05, chosen")
    assert row["fixed_low"] > 0
    table = paper.claims.claims(study(*runs))
    assert "at one EMA width" in table.header
    assert "chosen per letter on the other sampling seeds" in " ".join(table.notes)


def test_without_a_sweep_of_every_seed_the_width_is_one_for_all():
    scores = {(width, draw): 50.0 for width in (0.05, 0.1) for draw in (0, 1)}
    runs = [swept("A", 0, scores), run("A", 1, 50.0), swept("E", 0, scores), run("E", 1, 40.0)]
    row = alone("preservation", *runs)
    assert (row["ema_width"], row["n"]) == ("0.05", 2)
    one = [swept(c, s, {(0.1, 0): 50.0}) for c in "AE" for s in (0, 1)]
    assert alone("preservation", *one)["ema_width"] == "0.1"  # the one there is
    two = [swept(c, s, {(0.1, 0): 50.0, (0.2, 0): 40.0}) for c in "AE" for s in (0, 1)]
    assert alone("preservation", *two)["verdict"] == "not run"  # none is chosen without sampling seeds to choose on


def test_a_difference_within_the_sampling_error_is_said():
    noisy = [{(0.05, 0): 50.0, (0.05, 1): 90.0}, {(0.05, 0): 52.0, (0.05, 1): 87.0}]
    steady = [{(0.05, 0): 69.0, (0.05, 1): 69.5}, {(0.05, 0): 68.9, (0.05, 1): 69.2}]
    pairs = list(zip(noisy, steady, strict=True))
    row = alone(
        "preservation", *(swept(c, s, x) for s, pair in enumerate(pairs) for c, x in zip("AE", pair, strict=True))
    )
    assert row["remark"] == "within the sampling error"
    logs = [[math.log(e[0.05, d] / a[0.05, d]) for d in (0, 1)] for a, e in pairs]
    variance = sum((first - second) ** 2 / 2 for first, second in logs) / 2  # pooled, 2 degrees of freedom
    error = 4.302653 * (variance * (1 / 2 + 1 / 2)) ** 0.5 / 2
    assert row["sampling_error"] == pytest.approx(100 * math.expm1(error), rel=1e-5)
    assert alone("preservation", *A80, *seeds("E", 60.0, 61.0, 59.0))["remark"] == ""


# ---------------------------------------------------------------------------------------------------------------------
# Learning rates


def sweep(config, scores: dict, own: float, **more) -> list[tuple]:
    """Runs of a letter: rate -> scores by seed."""
    return [r for lr, found in scores.items() for r in seeds(config, *found, lr=lr, standard_lr=lr == own, **more)]


A_RATES = {1e-5: (90.0, 91.0, 90.2), 1e-4: (60.0, 60.5, 59.9), 1e-3: (95.0, 96.0, 94.6)}
E_RATES = {1e-4: (99.0, 99.5, 98.0), 1e-3: (80.0, 80.1, 79.0), 1e-2: (50.0, 50.5, 49.9), 1e-1: (88.0, 87.0, 88.5)}


def test_the_ratio_of_best_rates():
    runs = [*sweep("A", A_RATES, 1e-4), *sweep("E", E_RATES, 1e-2)]
    row = alone("rates-ratio", *runs)
    assert row["verdict"] == "holds"
    assert [row["ours"], row["low"], row["high"]] == pytest.approx([100.0] * 3)
    assert row["n"] == 3
    near = {lr * 1e-1: scores for lr, scores in E_RATES.items()}
    assert alone("rates-ratio", *sweep("A", A_RATES, 1e-4), *sweep("E", near, 1e-3))["verdict"] == "fails"


def test_a_best_rate_at_the_end_of_its_sweep_decides_nothing():
    edge = {lr: E_RATES[lr] for lr in (1e-4, 1e-3, 1e-2)}
    row = alone("rates-ratio", *sweep("A", A_RATES, 1e-4), *sweep("E", edge, 1e-2))
    assert (row["verdict"], row["decides"]) == ("undecided", "E swept above 1e-2")
    assert (row["low"], row["high"]) == (pytest.approx(100.0), math.inf)
    lowest = {lr: A_RATES[lr] for lr in (1e-4, 1e-3)}
    row = alone("rates-ratio", *sweep("A", lowest, 1e-4), *sweep("E", E_RATES, 1e-2))
    assert (row["verdict"], row["decides"], row["high"]) == ("undecided", "A swept below 1e-4", math.inf)
    diverged = [run("E", seed, status="diverged", lr=1e-1, standard_lr=False) for seed in range(3)]
    row = alone("rates-ratio", *sweep("A", A_RATES, 1e-4), *sweep("E", edge, 1e-2), *diverged)
    assert row["verdict"] == "holds"  # beyond lies a rate that diverges


def test_the_ratio_needs_both_letters_swept_and_several_seeds():
    only_e = [*sweep("A", {1e-4: A_RATES[1e-4]}, 1e-4), *sweep("E", E_RATES, 1e-2)]
    row = alone("rates-ratio", *only_e)
    assert (row["verdict"], row["decides"]) == ("not run", "runs of A at several learning rates")
    first = [{lr: scores[:1] for lr, scores in rates.items()} for rates in (A_RATES, E_RATES)]
    row = alone("rates-ratio", *sweep("A", first[0], 1e-4), *sweep("E", first[1], 1e-2))
    assert (row["verdict"], row["n"]) == ("undecided", 1)


def test_each_letter_at_the_others_rate():
    runs = [*sweep("A", A_RATES | {1e-2: (99.0, 99.9, 99.5)}, 1e-4), *sweep("E", E_RATES, 1e-2)]
    assert alone("rates-mp", *runs)["verdict"] == "holds"
    assert alone("rates-mp", *runs)["setting"] == "E (1e-4) against E (1e-2), scale + shift"
    assert alone("rates-baseline", *runs)["verdict"] == "holds"
    better = [*sweep("A", A_RATES, 1e-4), *sweep("E", E_RATES | {1e-4: (30.0, 30.3, 30.1)}, 1e-2)]
    assert alone("rates-mp", *better)["verdict"] == "fails"


def test_a_letter_that_diverges_at_the_others_rate_is_worse_there():
    broken = [run("A", seed, status="diverged", lr=1e-2, standard_lr=False) for seed in range(6)]
    runs = [*sweep("A", {1e-4: range(60, 66)}, 1e-4), *sweep("E", {1e-2: range(50, 56)}, 1e-2), *broken]
    row = alone("rates-baseline", *runs)
    assert (row["verdict"], row["p"], row["remark"]) == ("holds", 2 / 64, "one side diverged in 6 of 6 seeds")
    assert math.isnan(row["ours"])
    fewer = alone("rates-baseline", *(r for r in runs if r[0]["seed"] < 5))
    assert (fewer["verdict"], fewer["p"]) == ("undecided", 2 / 32)
    assert "only the sign" in fewer["decides"]


def test_where_the_baseline_diverges_it_is_the_worse():
    runs = [*(run("A", seed, status="diverged") for seed in range(6)), *seeds("E", *range(50, 56))]
    assert alone("preservation", *runs)["verdict"] == "holds"
    other = [*(run("E", seed, status="diverged") for seed in range(6)), *seeds("A", *range(50, 56))]
    assert alone("preservation", *other)["verdict"] == "fails"
    assert alone("preservation-size", *other)["verdict"] == "undecided"


def test_no_rate_is_chosen_among_several():
    runs = [*sweep("A", A_RATES, own=7.0), *seeds("E", 50.0, 51.0)]
    row = alone("preservation", *runs)
    assert (row["verdict"], row["decides"]) == ("not run", "a rate of A under learning_rates: it has several runs")
    one = [*sweep("A", {1e-4: A_RATES[1e-4]}, own=7.0), *seeds("E", 50.0, 51.0)]
    assert alone("preservation", *one)["n"] == 2  # the one there is


# ---------------------------------------------------------------------------------------------------------------------
# Accounting, cost, magnitudes


def test_parameters_are_counted_and_need_no_seeds():
    data = study(run("E", 0, 50.0), run("E", 0, 50.0, modulation="scale_rotate"))
    data["runs"]["parameters"] = [32_956_416.0, 32_956_416.0 - 1_769_472]
    (row,) = verdicts([CLAIMS[NAMES.index("rotation-parameters")]], data).to_dict("records")
    assert row["ours"] == row["low"] == row["high"] == pytest.approx(-5.369, abs=0.001)
    assert (row["verdict"], row["n"]) == ("holds", 0)
    data["runs"]["parameters"] = [100.0, 80.0]
    assert verdicts(CLAIMS, data).set_index("claim").loc["rotation-parameters", "verdict"] == "fails"
    assert alone("rotation-parameters", run("E", 0, 50.0))["verdict"] == "not run"


@pytest.mark.parametrize(
    ("textbook", "cheap", "expected"),
    [
        ((1.08, 1.05, 1.1), (1.02, 0.99, 1.06), ("holds", "holds")),
        ((1.5, 1.4, 1.6), (1.2, 1.1, 1.3), ("fails", "fails")),
        ((1.08, 1.01, 1.1), (1.05, 1.0, 1.1), ("undecided", "undecided")),
    ],
)
def test_cost_is_judged_by_its_own_interval_for_each_form(textbook, cheap, expected):
    cost = pd.DataFrame([cost_row(*textbook), cost_row(*cheap, "cheap"), cost_row(9.0, 9.0, 9.0, modulation="scale")])
    data = study(*seeds("E", 50.0), cost=cost)
    rows = [verdicts(CLAIMS, data).set_index("claim").loc[name] for name in ("time-textbook", "time-cheap")]
    assert tuple(row["verdict"] for row in rows) == expected
    assert [rows[0]["ours"], rows[0]["low"], rows[0]["high"]] == pytest.approx([100 * (x - 1) for x in textbook])
    assert rows[0]["decides"] == ("more rounds on a quiet machine" if expected[0] == "undecided" else "")
    assert alone("time-cheap", run("E", 0), cost=pd.DataFrame([cost_row(*textbook)]))["verdict"] == "not run"
    assert alone("time-cheap", run("E", 0))["verdict"] == "not run"


def traced(letter, **curves) -> list[tuple]:
    """Curves of three seeds that differ a little: each curve's values at initialisation, half-way and in the end."""
    given = dict.fromkeys(SITES, (1.0, 1.0, 1.0)) | {name.replace("_", " "): v for name, v in curves.items()}
    return [
        (letter, seed, curve, (first, second * (1 + seed / 100), last * (1 + seed / 100)))
        for curve, (first, second, last) in given.items()
        for seed in range(3)
    ]


def magnitudes(name, *curves) -> dict:
    return alone(name, *(run(letter, seed) for letter in "ACDE" for seed in range(3)), curves=list(chain(*curves)))


def test_growth_and_bounds_of_the_residual_stream():
    grows, calm = {"stream": (0.5, 2.0, 4.0)}, {"stream": (0.9, 1.0, 1.1)}
    row = magnitudes("growth-a", traced("A", **grows))
    assert row["ours"] == pytest.approx(8 * (1.01 * 1.02) ** (1 / 3))
    assert row["verdict"] == "holds"
    assert magnitudes("growth-a", traced("A", **calm))["verdict"] == "fails"
    assert magnitudes("bound-e", traced("E", **calm))["verdict"] == "holds"
    assert magnitudes("bound-e", traced("E", stream=(0.9, 4.0, 1.1)))["verdict"] == "fails"  # half-way, too
    assert magnitudes("bound-c", traced("C", **grows))["verdict"] == "fails"
    both = traced("A", **grows) + traced("C", **calm)
    assert magnitudes("growth-a-c", both)["verdict"] == "holds"
    assert magnitudes("growth-a-c", traced("A", **calm), traced("C", **grows))["verdict"] == "fails"
    assert magnitudes("growth-a-e", both)["verdict"] == "not run"


def test_spikes_at_the_mlp_input_and_their_cause():
    spike, calm = {"mlp_input": (1.0, 3.0, 2.0)}, {"mlp_input": (1.0, 1.1, 1.2)}
    assert magnitudes("spikes", traced("D", **spike))["verdict"] == "holds"
    assert magnitudes("spikes", traced("D", **calm))["verdict"] == "fails"
    assert magnitudes("spikes-norm", traced("D", **spike), traced("E", **calm))["verdict"] == "holds"
    assert magnitudes("spikes-norm", traced("D", **calm), traced("E", **spike))["verdict"] == "fails"


def test_forced_normalization_bounds_weights():
    assert magnitudes("weights-c", traced("C", weights=(1.0, 1.5, 2.0)))["ours"] == pytest.approx(2.02, abs=0.001)
    assert magnitudes("weights-c", traced("C", weights=(1.0, 1.5, 2.0)))["verdict"] == "holds"
    assert magnitudes("weights-c", traced("C", weights=(1.0, 1.0, 0.9)))["verdict"] == "fails"
    still = [("D", seed, curve, (1.0, 1.0, 1.0)) for seed in range(3) for curve in SITES]
    assert magnitudes("weights-d", still)["verdict"] == "holds"
    assert magnitudes("weights-d", traced("D", weights=(1.0, 1.5, 2.0)))["verdict"] == "fails"


def test_runs_that_were_not_traced_to_the_end_have_no_growth():
    curves = traced("A", stream=(0.5, 2.0, 4.0))
    data = study(*(run("A", seed) for seed in range(3)), curves=curves)
    data["magnitudes"] = data["magnitudes"][data["magnitudes"]["step"] < 100]
    row = verdicts(CLAIMS, data).set_index("claim").loc["growth-a"]
    assert (row["verdict"], row["decides"]) == ("not run", "magnitudes traced to the last step")
    assert magnitudes("growth-a", curves)["n"] == 3


# ---------------------------------------------------------------------------------------------------------------------
# Studies that are not whole, and the table


def test_what_is_not_run_says_what_would_decide_it():
    frame = verdicts(CLAIMS, study(run("A", 0, status="missing"), run("E", 0, status="running")))
    assert set(frame["verdict"]) == {"not run"}
    assert frame["decides"].str.len().min() > 5
    by_name = frame.set_index("claim")["decides"]
    assert by_name["preservation"] == "scores of the last step on shared seeds (E: 1 running; A: 1 missing)"
    assert by_name["forcing-score"] == "runs of D with scale + shift and runs of C with scale + shift"


def test_an_empty_study_has_every_claim_once():
    empty = {name: empty_table(SCHEMAS[name]) for name in AGGREGATES} | {"cost": None}
    table = paper.claims.claims(empty)
    assert table.frame["claim"].tolist() == NAMES
    assert set(table.frame["verdict"]) == {"not run"}
    assert "There is no run yet." in table.notes


def test_two_runs_of_one_setting_and_seed_are_refused():
    twin = entry("A") | {"run": "another-name"}
    with pytest.raises(UserError, match="must be one run per setting and seed"):
        verdicts(CLAIMS, study(run("A", 0, 1.0), (twin, "trained", [])))


@pytest.mark.parametrize("path", ["config.yaml", "workflow/config/imagenet128.yaml", "workflow/config/cifar10.yaml"])
def test_no_shipped_study_counts_a_seed_twice(path):
    experiment = Experiment(yaml.safe_load((Path(__file__).parents[3] / path).read_text()))
    require_one_run_per_seed(pd.DataFrame(experiment.plan(*experiment.blocks)["runs"]))


def test_every_model_has_its_rows_and_the_print_only_those_that_were_run():
    small = [*seeds("A", 80.0, 81.0), *seeds("E", 70.0, 71.0)]
    big = [
        *seeds("E", 70.0, 71.0, model="DiT-S/2"),
        *seeds("E", 70.5, 71.5, model="DiT-S/2", modulation="scale_rotate"),
    ]
    table = paper.claims.claims(study(*small, *big))
    assert len(table.frame) == 2 * len(CLAIMS)
    assert list(table.frame.columns) == list(COLUMNS)
    shown = [(row[0].split(" (")[0], row[table.header.index("model")]) for row in table.rows]
    assert [model for sentence, model in shown if sentence == "E has a lower FID than A"] == ["DiT-Nano/2"]
    assert [model for sentence, model in shown if "within 2 points" in sentence] == ["DiT-S/2"]
    assert "stand in the CSV for both" in " ".join(table.notes)


def test_the_table_cell_by_cell():
    table = paper.claims.claims(study(*seeds("A", 100.0, 50.0), *seeds("E", 90.0, 40.0)))
    assert list(table.header) == [
        "claim", "paper", "ours (95 % interval)", "n", "verdict", "setting", "what would decide it",
    ]  # fmt: skip
    assert list(table.rows[1][:6]) == [
        "E's FID is about 12.8 % below A's (−19.2 to −6.4 %)", "−12.8 %", "−15.1 % (−59.8 to +79.3)", "2", "undecided",
        "E (2e-2) against A (1e-3), scale + shift; FID, EMA width 0.05",
    ]  # fmt: skip
    assert table.rows[2][2:5] == ["—", "—", "not run"]
    notes = " ".join(table.notes)
    assert "Holm's correction over the 2 tests here" in notes
    assert "runs of a seed share batches, noise and label dropout" in notes
    assert INCEPTION["features"] in notes
    assert "| E's FID is about 12.8 %" in tables.markdown(table, "Claims.")


def test_claims_are_rendered_without_torch(tmp_path):
    data = study(*A80, *seeds("E", 69.0, 70.0))
    for name in ("runs", "fid", "magnitudes"):
        data[name].to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["render", "claims", "--data", str(tmp_path), "--output", str(tmp_path / "claims.csv")]
    code = f"import sys; from mpdit.__main__ import main; rc = main({words!r}); print(rc, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
    assert {path.suffix for path in tmp_path.glob("claims.*")} == {".csv", ".md", ".tex"}
    frame = pd.read_csv(tmp_path / "claims.csv")
    assert frame.loc[0, ["claim", "n", "setting"]].tolist() == [
        "preservation", 2, "E (2e-2) against A (1e-3), scale + shift",
    ]  # fmt: skip
