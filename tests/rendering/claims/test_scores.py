"""Claims about scores: pairs by seed, and scores that are never compared."""

import math

import pytest
from helpers.made_up_studies import A80, A_RATES, run, seeds, study, sweep
from helpers.paper_verdicts import claims, judged_alone, judged_among_all, verdict_rows


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
    assert judged_among_all("preservation", *runs)["verdict"] == direction
    assert judged_among_all("preservation-size", *runs)["verdict"] == size


def test_pairs_are_of_the_same_seed():
    """Seeds move both configs by tens, E against A by a little: only pairs see it. The order of runs is nothing."""
    a, e = seeds("A", 80.0, 120.0, 40.0), seeds("E", 79.0, 118.9, 39.4)
    assert judged_alone("preservation", *a, *e)["verdict"] == "holds"
    assert judged_alone("preservation", *reversed(e), *a)["verdict"] == "holds"
    moved = [run("E", seed, fid) for seed, fid in enumerate((118.9, 39.4, 79.0))]
    assert judged_alone("preservation", *a, *moved)["verdict"] == "undecided"


def test_a_seed_of_one_side_only_is_no_pair():
    row = judged_alone("preservation", *A80, *seeds("E", 69.0, None, 68.0))
    assert row["n"] == 2
    assert "2 of 2 seeds" not in row["setting"]
    running = run("E", 1, status="running")
    row = judged_alone("preservation", *A80, *seeds("E", 69.0, None, 68.0), running)
    assert (row["n"], row["setting"]) == (2, "E (2e-2) vs. A (1e-3), scale + shift; 2 of 3 seeds")


def test_modulations_and_the_margin():
    shift = seeds("E", 69.0, 70.0, 69.5)
    near = seeds("E", 69.4, 70.5, 69.9, modulation="scale_rotate")
    far = seeds("E", 79.4, 80.5, 79.9, modulation="scale_rotate")
    scale = seeds("E", 72.0, 73.1, 72.4, modulation="scale")
    assert [
        judged_alone(name, *shift, *near, *scale)["verdict"]
        for name in ("shift-over-rotation", "rotation-over-scale", "rotation-margin")
    ] == ["holds"] * 3
    assert judged_alone("rotation-margin", *shift, *far)["verdict"] == "fails"
    assert judged_alone("rotation-over-scale", *far, *scale)["verdict"] == "fails"
    row = judged_alone("rotation-margin", *shift, *near)
    assert row["ours"] == pytest.approx((0.4 + 0.5 + 0.4) / 3)
    assert row["setting"] == "E (2e-2), scale + rotate vs. scale + shift"
    assert judged_alone("rotation-margin", *shift)["decides"] == "runs of Config E with scale + rotate"


def deficient(fid, kid):
    return {"fid": fid, "kid": kid, "fid_rank_deficient": True, "count": 1000}


def test_with_fewer_samples_than_features_kid_decides():
    """FID says E is better, KID that it is worse: KID is right. Sizes of FID stay open."""
    a, e = seeds("A", *[deficient(80.0, 0.1)] * 3), seeds("E", *[deficient(60.0, kid) for kid in (0.12, 0.13, 0.121)])
    row = judged_among_all("preservation", *a, *e)
    assert (row["verdict"], row["metric"]) == ("fails", "KID")
    assert row["sentence"] == "Config E has a lower KID than Config A"
    size = judged_among_all("preservation-size", *a, *e)
    assert size["verdict"] == "undecided"
    assert "KID cannot decide the size of a difference in FID" in size["decides"]
    assert "the kernel distance decides" in " ".join(claims(study(*a, *e)).notes)


def test_a_kid_that_is_not_above_zero_has_no_ratio():
    a, e = seeds("A", *[deficient(80.0, 0.1)] * 2), seeds("E", *[deficient(60.0, kid) for kid in (0.12, -0.001)])
    row = judged_alone("preservation", *a, *e)
    assert row["verdict"] == "undecided"
    assert row["decides"].startswith("more samples")
    assert math.isnan(row["ours"])


def test_with_fewer_samples_than_features_and_no_kid_nothing_is_decided():
    """Precomputed statistics have no KID."""
    runs = [*seeds("A", *[deficient(80.0, math.nan)] * 3), *seeds("E", *[deficient(60.0, math.nan)] * 3)]
    row = judged_alone("preservation", *runs)
    assert (row["verdict"], row["metric"]) == ("undecided", "FID")
    assert row["decides"] == "five samples per feature, or a kernel distance as well: FID is biased"


def test_other_features_cannot_decide_the_size_of_a_difference_in_fid():
    lite = {"features": "efficientnet-lite0", "features_hash": "fe"}
    runs = [*seeds("A", *[{"fid": 80.0, **lite}] * 2), *seeds("E", *[{"fid": 69.8, **lite}] * 2)]
    assert judged_alone("preservation", *runs)["metric"] == "FD (EfficientNet-Lite0)"
    assert judged_alone("preservation-size", *runs)["verdict"] == "undecided"


def test_different_counts_and_features_are_never_compared():
    """A has 10,000 samples only, E 5,000 only; and where both have both there are two rows."""
    less = [{"fid": 60.0 + seed, "count": 5_000} for seed in range(3)]
    assert judged_alone("preservation", *A80, *seeds("E", *less))["verdict"] == "not run"
    both = [run(config, seed, 70.0 + seed, less[seed]) for config in "AE" for seed in range(3)]
    frame = verdict_rows(study(*both), "preservation")
    assert len(frame) == 2
    assert [protocol.count("samples") for protocol in frame["protocol"]] == [1, 1]
    assert "protocol" in claims(study(*both)).header


def test_only_the_last_step_counts():
    early = [{"fid": 10.0, "step": 50}, {"fid": 90.0, "step": 100}]
    a = [run("A", seed, {"fid": 80.0 + seed, "step": 50}, {"fid": 80.0 + seed}) for seed in range(3)]
    assert judged_alone("preservation", *a, *(run("E", seed, *early) for seed in range(3)))["verdict"] == "fails"
    assert judged_alone("preservation", *a, *(run("E", seed, early[0]) for seed in range(3)))["verdict"] == "not run"


def test_a_baseline_that_diverges_is_the_worse():
    runs = [*(run("A", seed, status="diverged") for seed in range(6)), *seeds("E", *range(50, 56))]
    assert judged_alone("preservation", *runs)["verdict"] == "holds"
    other = [*(run("E", seed, status="diverged") for seed in range(6)), *seeds("A", *range(50, 56))]
    assert judged_alone("preservation", *other)["verdict"] == "fails"
    assert judged_alone("preservation-size", *other)["verdict"] == "undecided"


def test_no_rate_is_picked_among_several():
    runs = [*sweep("A", A_RATES, own=7.0), *seeds("E", 50.0, 51.0)]
    row = judged_alone("preservation", *runs)
    assert (row["verdict"], row["decides"]) == ("not run", "a rate for Config A under learning_rates: it has several")
    one = [*sweep("A", {1e-4: A_RATES[1e-4]}, own=7.0), *seeds("E", 50.0, 51.0)]
    assert judged_alone("preservation", *one)["n"] == 2  # the one there is
