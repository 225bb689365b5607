"""Claims about learning rates."""

import math

import pytest
from helpers.made_up_studies import A_RATES, E_RATES, run, sweep
from helpers.paper_verdicts import judged_alone


def test_the_ratio_of_best_rates_widens_to_the_neighboring_rates():
    """Both bests are known up to their neighbors, here factors of 1.5: the ratio up to a factor of 2.25."""
    fine = {start: {start * 1.5 ** (k - 2): scores for k, scores in enumerate(FINE)} for start in (1e-4, 1e-2, 1e-3)}
    row = judged_alone("rates-ratio", *sweep("A", fine[1e-4], 1e-4), *sweep("E", fine[1e-2], 1e-2))
    assert (row["verdict"], row["n"]) == ("holds", 3)
    assert [row["ours"], row["low"], row["high"]] == pytest.approx([100.0, 100 / 2.25, 100 * 2.25])
    assert row["p"] < 0.05  # and so it takes part in the correction
    near = judged_alone("rates-ratio", *sweep("A", fine[1e-4], 1e-4), *sweep("E", fine[1e-3], 1e-3))
    assert near["verdict"] == "fails"


FINE = ((80.0, 81.0, 80.1), (70.0, 70.9, 70.1), (60.0, 61.0, 60.1), (70.2, 71.0, 70.0), (80.2, 81.0, 80.3))


def test_sampling_seeds_that_training_seeds_share_withhold_the_ratio():
    rates = {1e-4 * 1.5 ** (k - 2): scores for k, scores in enumerate(FINE)}
    runs = [
        run(config, seed, {"fid": fid, "sampling_seed": 0}, lr=lr * factor, standard_lr=False)
        for config, factor in (("A", 1.0), ("E", 100.0))
        for lr, scores in rates.items()
        for seed, fid in enumerate(scores)
    ]
    row = judged_alone("rates-ratio", *runs)
    assert row["verdict"] == "withheld"
    assert row["decides"].startswith("training seeds share sampling seeds")


def test_a_coarse_grid_cannot_place_the_best_rate():
    row = judged_alone("rates-ratio", *sweep("A", A_RATES, 1e-4), *sweep("E", E_RATES, 1e-2))
    assert (row["verdict"], row["ours"]) == ("undecided", pytest.approx(100.0))
    assert [row["low"], row["high"]] == pytest.approx([1.0, 1e4])


def test_a_best_rate_at_the_end_of_its_sweep_decides_nothing():
    edge = {lr: E_RATES[lr] for lr in (1e-4, 1e-3, 1e-2)}
    row = judged_alone("rates-ratio", *sweep("A", A_RATES, 1e-4), *sweep("E", edge, 1e-2))
    assert (row["verdict"], row["decides"]) == ("undecided", "runs of Config E above 1e-2")
    assert (row["low"], row["high"]) == (pytest.approx(1.0), math.inf)
    lowest = {lr: A_RATES[lr] for lr in (1e-4, 1e-3)}
    row = judged_alone("rates-ratio", *sweep("A", lowest, 1e-4), *sweep("E", E_RATES, 1e-2))
    assert (row["verdict"], row["decides"], row["high"]) == ("undecided", "runs of Config A below 1e-4", math.inf)
    diverged = [run("E", seed, status="diverged", lr=1e-1, standard_lr=False) for seed in range(3)]
    row = judged_alone("rates-ratio", *sweep("A", A_RATES, 1e-4), *sweep("E", edge, 1e-2), *diverged)
    assert math.isfinite(row["high"])  # beyond lies a rate that diverges


def test_the_ratio_needs_sweeps_of_both_configurations_and_several_seeds():
    only_e = [*sweep("A", {1e-4: A_RATES[1e-4]}, 1e-4), *sweep("E", E_RATES, 1e-2)]
    row = judged_alone("rates-ratio", *only_e)
    assert (row["verdict"], row["decides"]) == ("not run", "runs of Config A at several learning rates")
    first = [{lr: scores[:1] for lr, scores in rates.items()} for rates in (A_RATES, E_RATES)]
    row = judged_alone("rates-ratio", *sweep("A", first[0], 1e-4), *sweep("E", first[1], 1e-2))
    assert (row["verdict"], row["n"]) == ("undecided", 1)


def test_each_configuration_at_the_rate_of_the_other():
    runs = [*sweep("A", A_RATES | {1e-2: (99.0, 99.9, 99.5)}, 1e-4), *sweep("E", E_RATES, 1e-2)]
    assert judged_alone("rates-mp", *runs)["verdict"] == "holds"
    assert judged_alone("rates-mp", *runs)["setting"] == "E (1e-4) vs. E (1e-2), scale + shift"
    assert judged_alone("rates-baseline", *runs)["verdict"] == "holds"
    better = [*sweep("A", A_RATES, 1e-4), *sweep("E", E_RATES | {1e-4: (30.0, 30.3, 30.1)}, 1e-2)]
    row = judged_alone("rates-mp", *better)
    assert row["verdict"] == "withheld"  # the rate of Config E is not its best one
    assert "better at 1e-4 than at 1e-2, the rate used, on all seeds that both have" in row["decides"]


def test_a_configuration_that_diverges_at_the_rate_of_the_other_is_worse_there():
    broken = [run("A", seed, status="diverged", lr=1e-2, standard_lr=False) for seed in range(6)]
    runs = [*sweep("A", {1e-4: range(60, 66)}, 1e-4), *sweep("E", {1e-2: range(50, 56)}, 1e-2), *broken]
    row = judged_alone("rates-baseline", *runs)
    assert (row["verdict"], row["p"], row["remark"]) == (
        "holds", pytest.approx(2 / 924), "6 of 6 runs diverged, against 0 of 6"
    )  # fmt: skip
    assert math.isnan(row["ours"])
    fewer = judged_alone("rates-baseline", *(r for r in runs if r[0]["seed"] < 4))
    assert (fewer["verdict"], math.isnan(fewer["p"])) == ("undecided", True)
    assert fewer["decides"].startswith("5 or more seeds")
