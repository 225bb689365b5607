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


def test_growth_across_blocks_is_after_training_and_from_what_enters_the_first():
    """The stream after the last block is 1.5 times the curve."""
    grows = {"stream": (1.0, 1.0, 2.0), "entering": (1.0, 1.0, 0.5)}
    row = magnitudes("growth-a-blocks", traced("A", **grows))
    assert (row["ours"], row["verdict"]) == (pytest.approx(1.5 * 2.0 / 0.5), "holds")
    calm = {"entering": (0.5, 0.5, 1.0)}  # three times at initialization, which does not count
    assert magnitudes("growth-a-blocks", traced("A", **calm))["verdict"] == "fails"
    assert magnitudes("bound-c-blocks", traced("C", **calm))["verdict"] == "holds"
    assert magnitudes("bound-e-blocks", traced("E", **grows))["verdict"] == "fails"
    assert magnitudes("growth-a-e-blocks", traced("A", **grows), traced("E", **calm))["verdict"] == "holds"
    assert magnitudes("growth-a-c-blocks", traced("A", **calm), traced("C", **grows))["verdict"] == "fails"


def test_the_most_correlated_inputs_are_compared_with_independent_ones():
    row = magnitudes("correlated-e", traced("E", correlated=(9.0, 9.0, 1.4)))
    assert (row["ours"], row["verdict"]) == (pytest.approx(1.414, abs=0.001), "holds")
    for last in (2.5, 0.3):
        assert magnitudes("correlated-c", traced("C", correlated=(1.0, 1.0, last)))["verdict"] == "fails"


def test_the_input_of_the_mlp_is_compared_with_the_stream_of_the_same_block_after_training():
    """In block 1 both are 1.5 times their curve, in block 0 the input is half as large as the stream."""
    spike, calm = {"mlp_input": (1.0, 1.0, 3.0)}, {"mlp_input": (1.0, 3.0, 1.2)}  # half-way does not count
    assert magnitudes("spikes", traced("D", **spike))["ours"] == pytest.approx(3.0)
    assert magnitudes("spikes", traced("D", **spike))["verdict"] == "holds"
    assert magnitudes("spikes", traced("D", **calm))["verdict"] == "fails"
    small_stream = {"mlp_input": (1.0, 1.0, 1.0), "stream": (1.0, 1.0, 0.25)}
    assert magnitudes("spikes", traced("D", **small_stream))["ours"] == pytest.approx(4.0)
    assert magnitudes("spikes-norm", traced("D", **spike), traced("E", **calm))["verdict"] == "holds"
    assert magnitudes("spikes-norm", traced("D", **calm), traced("E", **spike))["verdict"] == "fails"


def test_weights_grow_without_forced_normalization():
    assert magnitudes("weights-c", traced("C", weights=(1.0, 1.5, 2.0)))["ours"] == pytest.approx(2.02, abs=0.001)
    assert magnitudes("weights-c", traced("C", weights=(1.0, 1.5, 2.0)))["verdict"] == "holds"
    assert magnitudes("weights-c", traced("C", weights=(1.0, 1.0, 0.9)))["verdict"] == "fails"


def still(**curves) -> list[tuple]:
    """Curves of Config D that are the same for three seeds."""
    values = dict.fromkeys(SITES, (1.0, 1.0, 1.0)) | {name.replace("_", " "): v for name, v in curves.items()}
    return [("D", seed, curve, values[curve]) for seed in range(3) for curve in SITES]


def test_forced_normalization_is_judged_by_the_plain_weights():
    """An average of unit rows is shorter than 1, whatever their norms."""
    assert magnitudes("weights-d", still(weights=(1.0, 0.9, 0.95)))["verdict"] == "holds"
    assert magnitudes("weights-d", still(plain_weights=(1.0, 1.0, 1.5)))["verdict"] == "fails"


def test_results_of_an_earlier_version_have_no_norms_of_plain_weights():
    curves = [curve for curve in still() if curve[2] != "plain weights"]
    row = magnitudes("weights-d", curves)
    assert (row["verdict"], row["decides"]) == (
        "not run",
        "norms of the plain weights, which an earlier version did not trace: delete magnitudes.csv of these runs, and "
        "run the workflow again",
    )
    assert magnitudes("spikes", curves)["verdict"] == "fails"  # the others are judged as before


def test_runs_that_were_not_traced_to_the_end_show_no_growth():
    curves = traced("A", stream=(0.5, 2.0, 4.0))
    data = study(*(run("A", seed) for seed in range(3)), curves=curves)
    data["magnitudes"] = data["magnitudes"][data["magnitudes"]["step"] < 100]
    row = verdict_rows(data).set_index("claim").loc["growth-a"]
    assert (row["verdict"], row["decides"]) == ("not run", "magnitudes (residual stream) traced to the last step")
    assert magnitudes("growth-a", curves)["n"] == 3
