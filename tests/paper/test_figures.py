"""Figures over training, of FIDs and of probes against the CSVs that they are drawn from."""

import numpy as np
import pandas as pd
import pytest
from helpers.drawing import draw, drawn, some_magnitudes
from helpers.made_up_runs import entry, frames, run_row

from mpdit import paper
from mpdit.experiment.columns import MAGNITUDES
from mpdit.rendering.lines import over_seeds, whole

FIGURES = [name for name, artefact in paper.ARTEFACTS.items() if artefact.kind == "figure"]


def rows(run: dict, values: dict, **common) -> pd.DataFrame:
    """Rows of magnitudes.csv: `values` gives the magnitude by (step, block) or (step, block, more by keyword)."""
    empty = dict.fromkeys(MAGNITUDES.names, "") | {"run": run["run"], **common}
    return pd.DataFrame([{**empty, "step": s, "block": b, "magnitude": m} for (s, b), m in values.items()])


def scores(*runs: tuple) -> dict:
    """The tables of runs (entry, status, list of what sets scores apart)."""
    found = []
    for run, status, given in runs:
        told = [{**score, "count": score.get("count", 1000)} for score in given]
        found.append((run, status, told))
    return frames(*found)


def xy(axes) -> dict:
    return {label: (x.tolist(), y.tolist()) for label, (x, y) in drawn(axes).items()}


def test_means_count_each_run_once_and_bands_are_of_the_lowest_and_highest():
    found = pd.DataFrame({
        "run": list("aaab"), "step": [0, 0, 0, 0], "block": [0, 1, 1, 0], "magnitude": [1.0, 3.0, 5.0, 6.0],
    })  # fmt: skip
    by_run = over_seeds(found, "step")  # a: 1, 4, 4 by block and within it: 3; b: 6
    assert by_run.loc[0].tolist() == [4.5, 3, 6]
    by_block = over_seeds(found, "step", spread="block")
    assert by_block.loc[0, ["low", "high"]].tolist() == [3.5, 4]  # of block 0: (1 + 6) / 2; of block 1: 4
    alone = over_seeds(found[found["run"] == "b"], "step")
    assert alone["mean"].tolist() == [6]
    assert alone[["low", "high"]].isna().all(axis=None)


def test_the_stream_over_training_is_that_of_the_csv():
    """`magnitudes` has 1 at the start, 3 and 4 behind the two blocks later; the second seed has thrice of it."""
    seeds = [entry("C", 0), entry("C", 1)]
    figure = draw(
        "magnitudes_over_training",
        runs=pd.DataFrame([run_row(run) for run in seeds]),
        magnitudes=some_magnitudes((seeds[0], 1.0), (seeds[1], 3.0)),
    )
    over, behind = figure.axes
    assert xy(over) == {"C": ([0, 50, 100], [2, 7, 7])}
    assert xy(behind) == {"C": ([0, 50, 100], [2, 8, 8])}
    (band,) = behind.collections[0].get_paths()
    assert {tuple(point) for point in band.vertices.tolist()} >= {(0, 1), (0, 3), (100, 4), (100, 12)}


def test_a_seed_that_was_traced_less_often_is_in_no_mean_and_told():
    seeds = [entry("C", 0), entry("C", 1)]
    found = some_magnitudes((seeds[0], 1.0), (seeds[1], 3.0))
    found = found[(found["run"] == seeds[0]["run"]) | (found["step"] < 100)]
    runs = pd.DataFrame([run_row(run) for run in seeds])
    figure = draw("magnitudes_over_training", runs=runs, magnitudes=found)
    assert xy(figure.axes[1]) == {"C": ([0, 50, 100], [1, 4, 4])}
    assert "Not drawn: C (1 trained, not wholly evaluated)." in figure.get_supxlabel().replace("\n", " ")
    assert set(whole(found, runs, "step")["run"]) == {seeds[0]["run"]}


def test_sites_are_drawn_apart():
    d = entry("D")
    found = pd.concat([
        rows(d, {(0, 0): 1.0, (0, 1): 1.0, (100, 0): level, (100, 1): 2 * level}, kind="activation", site=site)
        for site, level in (("mlp_input", 5.0), ("residual", 1.0))
    ])  # fmt: skip
    figure = draw("sites", runs=pd.DataFrame([run_row(d)]), magnitudes=found.assign(timestep=50))
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes[:5]}
    assert xy(panels["MLP, input"]) == {"D": ([1, 2], [5, 10])}
    assert xy(panels["residual stream"]) == {"D": ([1, 2], [1, 2])}
    assert xy(panels["MLP, output"]) == {}
    assert xy(figure.axes[5 + 2]) == {"D": ([0, 100], [1, 7.5])}


def test_norms_of_weights_are_those_of_the_blocks():
    c = entry("C")
    values = {(0, b): 1.0 for b in (-1, 0, 1, 2)} | {(100, -1): 9.0, (100, 0): 2.0, (100, 1): 4.0, (100, 2): 8.0}
    found = pd.concat([rows(c, values, kind="weight", site="all"), rows(c, {(0, 0): 7.0}, kind="weight", site="qkv")])
    over, along = draw("weights", runs=pd.DataFrame([run_row(c)]), magnitudes=found).axes
    assert xy(over) == {"C": ([0, 100], [1, 3])}  # of the blocks 0 and 1 alone
    assert xy(along) == {"C": ([0, 1, 2, 3], [9, 2, 4, 8])}
    assert [text.get_text() for text in along.get_xticklabels()] == ["in", "1", "2", "out"]


def test_gains_keep_their_signs_and_letters_without_any_are_not_missed():
    e, a = entry("E"), entry("A")
    found = pd.concat([
        rows(e, {(0, 0): 0.0, (100, 0): -0.5}, kind="gain", site="mlp_gate"),
        rows(e, {(0, 1): 0.0, (100, 1): 0.25}, kind="gain", site="noise"),
    ])  # fmt: skip
    figure = draw("gains", runs=pd.DataFrame([run_row(e), run_row(a)]), magnitudes=found)
    gate, final = figure.axes
    assert xy(gate) == {"mlp gate 1": ([0, 100], [0, -0.5])}
    assert xy(final) == {"final noise 2": ([0, 100], [0, 0.25])}
    assert "Not drawn" not in figure.get_supxlabel()


def test_fids_over_training_are_means_over_seeds_of_one_protocol():
    seeds = [entry("A", 0), entry("A", 1)]
    given = [
        [{"step": 50, "fid": 80.0 + s, "kid": 0.2}, {"step": 100, "fid": 60.0 + s, "kid": 0.1},
         {"step": 100, "fid": 7.0, "kid": 0.1, "ema_width": 0.1}]
        for s in (0, 10)
    ]  # fmt: skip
    figure = draw(
        "fid_over_training", **scores(*((run, "trained", own) for run, own in zip(seeds, given, strict=True)))
    )
    assert [axes.get_title(loc="left").split(", ")[-1] for axes in figure.axes[::2]] == [
        "EMA width 0.05", "EMA width 0.1",
    ]  # fmt: skip
    fid, kid, other, _ = figure.axes
    assert xy(fid) == {"A": ([50, 100], [85, 65])}
    assert xy(kid) == {"A": ([50, 100], [200, 100])}
    assert xy(other) == {"A": ([100], [7])}
    assert fid.get_ylabel() == "FD (EfficientNet-Lite0)"
    assert kid.get_ylabel() == "KD (EfficientNet-Lite0) ×10³"
    floors = [line for line in fid.lines if set(line.get_ydata()) == {12.25}]
    assert len(floors) == 1
    assert "the kernel distance decides" in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize("key", ["count", "steps", "guidance", "sampler", "reference_hash", "features_hash"])
@pytest.mark.parametrize("name", ["fid_over_training", "learning_rate", "ema_width"])
def test_protocols_never_share_a_line(name, key):
    other = {"sampler": "ddim", "reference_hash": "9", "features_hash": "9"}.get(key, 500)
    data = scores((entry("A"), "trained", [{"fid": 10.0}, {"fid": 90.0, key: other}]))
    figure = draw(name, **data)
    assert [y for axes in figure.axes[::2] for _, y in xy(axes).values()] == [[10], [90]]


def test_rates_are_drawn_by_letter_and_where_runs_diverged_is_marked():
    runs = [
        (entry("A", lr=1e-4), "trained", [{"fid": 40.0}]),
        (entry("A", lr=1e-2), "diverged", []),
        (entry("E", lr=1e-2), "trained", [{"fid": 30.0}]),
        (entry("E", 1, lr=1e-2), "diverged", []),
    ]
    figure = draw("learning_rate", **scores(*runs))
    assert xy(figure.axes[0]) == {"A": ([1e-4], [40]), "E": ([1e-2], [30])}
    assert {"A ×", "E × 1/2"} <= {text.get_text() for text in figure.axes[0].texts}
    assert "Not drawn: A (1 diverged), E (1 diverged)." in figure.get_supxlabel().replace("\n", " ")


def test_widths_are_chosen_on_other_sampling_seeds_than_those_drawn():
    """By the first sampling seed 0.1 is best, by the second 0.05 would be: the second is drawn, the star at 0.1."""
    given = [
        {"ema_width": width, "sampling_seed": seed, "fid": 1.0, "kid": kid}
        for width, kids in ((0.05, (0.3, 0.1)), (0.1, (0.2, 0.4)), (None, (0.5, 0.5)))
        for seed, kid in enumerate(kids)
    ]
    fid, kid = draw("ema_width", **scores((entry("A"), "trained", given))).axes
    assert xy(kid) == {"A": ([0, 0.05, 0.1], [500, 100, 400])}
    (star,) = [line for line in kid.lines if line.get_marker() == "*"]
    assert (star.get_xdata().tolist(), star.get_ydata().tolist()) == ([0.1], [400])
    assert [text.get_text() for text in fid.get_xticklabels()] == ["none", "0.05", "0.1"]


def test_angles_are_those_after_training_by_noise_level():
    run = entry("E", modulation="rotate")
    found = pd.DataFrame([
        {"run": run["run"], "step": step, "ema_width": 0.05, "block": block, "site": "mlp_angle", "timestep": t,
         "radians": (step > 0) * (block + 1) * t / 1000}
        for step in (0, 100) for block in (0, 1) for t in (250, 750)
    ])  # fmt: skip
    attention, mlp = draw("angles", runs=pd.DataFrame([run_row(run), run_row(entry("E"))]), angles=found).axes
    assert xy(mlp) == {"t = 250": ([1, 2], [0.25, 0.5]), "t = 750": ([1, 2], [0.75, 1.5])}
    assert xy(attention) == {}


def test_correlated_inputs_are_drawn_by_correlation_at_the_start_and_in_the_end():
    c, b = entry("C"), entry("B")
    found = pd.concat([
        rows(run, {(0, 0): r + 1, (0, 1): r + 3, (100, 0): 2 * r + 1, (100, 1): 2 * r + 1}, kind="correlated",
             site="residual", correlation=r, timestep=50)
        for run in (c, b) for r in (0.0, 0.5)
    ])  # fmt: skip
    figure = draw("correlated", runs=pd.DataFrame([run_row(c), run_row(b)]), magnitudes=found)
    start, end = figure.axes[2], figure.axes[5]
    assert xy(start) == {"C": ([0, 1], [2, 2.5])}  # not of B, which is not compared here
    assert xy(end) == {"C": ([0, 1], [1, 2])}
    assert [text.get_text() for text in end.get_xticklabels()] == ["0", "0.5"]


def test_kid_that_there_is_none_of_leaves_a_panel_that_says_so():
    """With precomputed statistics there is no KID, and no floor."""
    none = {"kid": np.nan, "fid_floor": np.nan, "kid_floor": np.nan, "reference_count": np.nan}
    fid, kid = draw("fid_over_training", **scores((entry("A"), "trained", [{"fid": 9.0, **none}]))).axes
    assert xy(fid) == {"A": ([100], [9])}
    assert xy(kid) == {}
    assert "nothing to draw yet" in [text.get_text() for text in kid.texts]
