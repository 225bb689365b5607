"""Claims about magnitudes."""

from itertools import chain

import pytest
from helpers.made_up_studies import SITES, run, study
from helpers.paper_verdicts import judged_alone, verdict_rows


def traced(config, **curves) -> list[tuple]:
    """Curves of three seeds that differ a little: the values of each at initialization, half-way and at the end."""
    all_curves = dict.fromkeys(SITES, (1.0, 1.0, 1.0)) | {name.replace("_", " "): v for name, v in curves.items()}
    return [
        (config, seed, curve, (first, second * (1 + seed / 100), last * (1 + seed / 100)))
        for curve, (first, second, last) in all_curves.items()
        for seed in range(3)
    ]


def magnitudes(name, *curves) -> dict:
    return judged_alone(
        name, *(run(config, seed) for config in "ACDE" for seed in range(3)), curves=list(chain(*curves))
    )


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


def test_runs_that_were_not_traced_to_the_end_show_no_growth():
    curves = traced("A", stream=(0.5, 2.0, 4.0))
    data = study(*(run("A", seed) for seed in range(3)), curves=curves)
    data["magnitudes"] = data["magnitudes"][data["magnitudes"]["step"] < 100]
    row = verdict_rows(data).set_index("claim").loc["growth-a"]
    assert (row["verdict"], row["decides"]) == ("not run", "magnitudes traced to the last step")
    assert magnitudes("growth-a", curves)["n"] == 3
