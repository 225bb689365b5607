"""Studies made to fool verdicts: each has a flaw that would have given a false one."""

import math

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_studies import run, seeds, study, sweep
from helpers.paper_verdicts import claims, judged_alone, verdict_rows
from scipy import stats

from mpdit.rendering.claims.settings import StudySettings
from mpdit.rendering.claims.verdicts import verdict_frame, verdicts
from mpdit.rendering.registry import CLAIMS
from mpdit.results.estimates import LEVEL
from mpdit.system.errors import UserError

A5, E5 = (80.0, 81.0, 79.0, 80.5, 80.2), (70.0, 70.8, 69.3, 70.4, 70.1)


def test_a_baseline_that_is_better_at_another_rate_of_the_same_study_withholds_the_verdict():
    """E beats A at A's rate, while the study's own sweep has a rate at which A beats E."""
    swept = sweep("A", {1e-3: A5, 1e-2: (60.0, 60.9, 59.2, 60.4, 60.3)}, own=1e-3)
    row = judged_alone("preservation", *swept, *seeds("E", *E5))
    assert (row["verdict"], math.isnan(row["p"])) == ("withheld", True)
    assert row["decides"] == (
        "Config A with scale + shift is better at 1e-2 than at 1e-3, the rate used, on all seeds that both have (FID)"
    )
    worse = sweep("A", {1e-3: A5, 1e-2: (90.0, 90.9, 60.0, 90.4, 90.3)}, own=1e-3)
    assert judged_alone("preservation", *worse, *seeds("E", *E5))["verdict"] == "holds"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("edge", "its search ended at an edge"),
        ("horizon", "its rate was tuned for another number of steps"),
        ("other", "its rate was tuned for other data or another recipe"),
        ("given", "its rate was given, not tuned"),
    ],
)
def test_a_side_that_was_not_tuned_withholds_the_verdict(kind, words):
    """Also where the rates file is of another horizon, and where a file of version 0.1 says nothing."""
    runs = [*seeds("A", *A5, tuning=kind), *seeds("E", *E5)]
    row = judged_alone("preservation", *runs)
    assert row["verdict"] == "withheld"
    assert row["decides"].startswith(f"Config A with scale + shift is not tuned: {words}")
    table = claims(study(*runs))
    assert table.above[0].startswith("Not tuned alike, so differences may be due to learning rates. Config A: ")
    curves = [("A", seed, "stream", (1.0, 5.0, 9.0)) for seed in range(5)]
    (growth,) = verdict_rows(study(*runs, curves=curves), "growth-a")["verdict"]
    assert growth in ("withheld", "not run")


def test_one_sampling_seed_for_all_training_seeds_withholds_the_verdict():
    shared = [run(config, seed, {"fid": fid, "sampling_seed": 0}) for config, fids in (("A", A5), ("E", E5))
              for seed, fid in enumerate(fids)]  # fmt: skip
    row = judged_alone("preservation", *shared)
    assert row["verdict"] == "withheld"
    assert "share one sampling seed" in row["decides"]


def test_one_sampling_seed_that_is_used_twice_costs_one_seed_and_no_more():
    sides = [
        run(config, seed, {"fid": fid, "sampling_seed": min(seed, 3)})
        for config, fids in (("A", A5), ("E", E5))
        for seed, fid in enumerate(fids)
    ]
    row = judged_alone("preservation", *sides)
    assert (row["verdict"], row["n"]) == ("holds", 5)
    logs = np.log(np.array(E5) / np.array(A5))
    four = np.array([*logs[:3], logs[3:].mean()])
    half = 3.182446 * four.std(ddof=1) / math.sqrt(4)
    assert row["low"] == pytest.approx(100 * math.expm1(four.mean() - half), rel=1e-5)


def test_the_error_of_shared_sampling_seeds_is_added_in_quadrature():
    """The seeds agree to a hair, the two sampling seeds that they share do not."""
    pairs = [[{"fid": 80.0, "sampling_seed": s} for s in (0, 1)] for _ in range(5)]
    ours = [[{"fid": 70.0 + seed / 50 + 8 * s, "sampling_seed": s} for s in (0, 1)] for seed in range(5)]
    runs = [run("A", seed, *pairs[seed]) for seed in range(5)] + [run("E", seed, *ours[seed]) for seed in range(5)]
    row = judged_alone("preservation", *runs)
    assert row["verdict"] == "undecided"
    assert row["low"] < -20 < row["ours"] < -5


def test_paired_sampling_seeds_are_not_counted_twice():
    row = judged_alone("preservation", *seeds("A", *A5), *seeds("E", *E5))
    logs = np.log(np.array(E5) / np.array(A5))
    assert row["verdict"] == "holds"
    half = 2.776445 * logs.std(ddof=1) / math.sqrt(5)
    assert row["low"] == pytest.approx(100 * math.expm1(logs.mean() - half), rel=1e-5)
    assert math.isnan(row["sampling_error"])


def test_survivors_of_divergence_decide_nothing():
    """E is far ahead on the seeds that are left; three of its five have diverged."""
    e = [run("E", seed, 50.0) if seed < 2 else run("E", seed, status="diverged") for seed in range(5)]
    row = judged_alone("preservation", *seeds("A", *A5), *e)
    assert (row["verdict"], row["remark"]) == ("undecided", "3 of 5 runs diverged, against 0 of 5")
    assert math.isnan(row["ours"]) and row["p"] == pytest.approx(1 / 6)


@pytest.mark.slow
def test_null_studies_err_no_more_often_than_they_may():
    """Studies in which no configuration differs from another: few may have any verdict among the primary claims.

    If 5 % of such studies err, more than 6 of 60 do with a probability of 3 %: the limit is the smallest number that is
    exceeded with less than 5 % (binomial).
    """
    studies = 60
    random = np.random.default_rng(11)
    settings = StudySettings(primary=("preservation", "forcing-score"))
    tested = [CLAIMS[name] for name in settings.primary]
    wrong = 0
    for _ in range(studies):
        runs = [r for config in "ACDE" for r in seeds(config, *random.normal(80.0, 2.0, 5))]
        found = verdicts(tested, study(*runs) | {"settings": settings})
        wrong += any(verdict.outcome in ("holds", "fails") for verdict in found)
    assert wrong <= stats.binom.ppf(0.95, studies, LEVEL) == 6


# ---------------------------------------------------------------------------------------------------------------------
# Families


def test_primary_claims_are_a_family_of_their_own():
    """The other claims are many and clear, and take nothing from the primary one."""
    runs = [*seeds("A", *A5), *seeds("E", *E5), *seeds("C", *A5), *seeds("D", *E5)]
    settings = StudySettings(primary=("preservation",))
    frame = verdict_frame(verdicts(CLAIMS.values(), study(*runs) | {"settings": settings})).set_index("claim")
    assert frame.loc["preservation", ["family", "verdict"]].tolist() == ["primary", "holds"]
    assert frame.loc["preservation", "p"] == frame.loc["preservation", "p_holm"]
    assert frame.loc["forcing-score", "family"] == "exploratory"
    assert frame.loc["forcing-score", "p_holm"] > frame.loc["forcing-score", "p"]
    table = claims(study(*runs) | {"settings": settings})
    assert "family" in table.header
    assert "over 1 primary test and over" in " ".join(table.notes)
    assert "Primary claims were named before the first run" in " ".join(table.notes)
    assert "All claims are exploratory: none was named primary" in " ".join(claims(study(*runs)).notes)


def test_a_primary_claim_that_nobody_registered_is_an_error():
    with pytest.raises(
        UserError, match=r"claims\.primary: unknown claim 'presevation'; expected one of preservation, "
    ):
        verdicts(CLAIMS.values(), study(*seeds("A", *A5)) | {"settings": StudySettings(primary=("presevation",))})


def test_what_changed_after_the_lock_is_exploratory():
    settings = StudySettings(primary=("preservation",), lock_hash="abc", changed=("learning rates",))
    data = study(*seeds("A", *A5), *seeds("E", *E5)) | {"settings": settings}
    frame = verdict_frame(verdicts(CLAIMS.values(), data))
    assert set(frame["family"]) == {"exploratory"} and set(frame["lock"]) == {"abc"}
    assert claims(data).above[0] == (
        "All claims are exploratory, since the study is not what was fixed before its first run (study-lock.json). "
        "Changed: learning rates."
    )
    never = StudySettings(primary=("preservation",), changed=("there is no study-lock.json",))
    assert claims(study(*seeds("A", *A5), *seeds("E", *E5)) | {"settings": never}).above[0] == (
        "All claims are exploratory, since nothing was fixed before the first run (study-lock.json)."
    )


def test_an_interim_report_decides_nothing():
    data = study(*seeds("A", *A5), *seeds("E", *E5)) | {"interim": True}
    frame = verdict_frame(verdicts(CLAIMS.values(), data)).set_index("claim")
    assert frame.loc["preservation", "verdict"] == "interim"
    assert set(frame["verdict"]) <= {"interim", "not run"}


def test_sides_are_compared_at_the_widths_that_were_tuned():
    a = seeds("A", *A5)
    e = [run("E", seed, {"fid": fid, "ema_width": 0.1}) for seed, fid in enumerate(E5)]
    row = judged_alone("preservation", *a, *e)
    assert (row["verdict"], row["ema_width"], row["n"]) == ("holds", "0.1 and 0.05, tuned", 5)
    assert isinstance(verdict_rows(study(*a, *e), "preservation"), pd.DataFrame)
