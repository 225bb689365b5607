"""FID and KID against the CSV that they are drawn from."""

import numpy as np
import pytest
from helpers.drawing import draw, footnote, lists, title
from helpers.made_up_runs import entry, frames

from mpdit.rendering.figures.score_curves import fid_by_ema_width, fid_by_learning_rate, fid_over_training


def drawn(function, *runs: tuple, **options):
    """The figure of runs (entry, status, scores); a score is what sets it apart from `made_up_runs.score_row`."""
    data = frames(*runs)
    return draw(lambda: function(data["runs"], data["fid"], **options))


def test_fids_over_training_are_means_over_seeds_of_one_protocol():
    seeds = [
        (entry("A", seed), "trained", [
            {"step": 50, "fid": 80.0 + 10 * seed, "kid": 0.2}, {"step": 100, "fid": 60.0 + 10 * seed, "kid": 0.1},
            {"step": 100, "fid": 7.0, "kid": 0.1, "ema_width": 0.1},
        ])
        for seed in (0, 1)
    ]  # fmt: skip
    figure = drawn(fid_over_training, *seeds)
    assert [title(axes).split(", ")[-1] for axes in figure.axes[::2]] == ["EMA width 0.05", "EMA width 0.1"]
    fid, kid, other, _ = figure.axes
    assert lists(fid) == {"A": ([50, 100], [85, 65])}
    assert lists(kid) == {"A": ([50, 100], [200, 100])}
    assert lists(other) == {"A": ([100], [7])}
    assert fid.get_ylabel() == "FD (EfficientNet-Lite0)"
    assert kid.get_ylabel() == "KD (EfficientNet-Lite0) ×10³"
    floors = [line for line in fid.lines if set(line.get_ydata()) == {12.25}]
    assert len(floors) == 1
    assert "the kernel distance decides" in footnote(figure)


@pytest.mark.parametrize("key", ["count", "steps", "guidance", "sampler", "reference_hash", "features_hash"])
@pytest.mark.parametrize(
    ("function", "options"),
    [(fid_over_training, {}), (fid_by_learning_rate, {}), (fid_by_ema_width, {"usual_width": 0.05})],
)
def test_protocols_never_share_a_line(function, options, key):
    other = {"sampler": "ddim", "reference_hash": "9", "features_hash": "9"}.get(key, 500)
    figure = drawn(function, (entry("A"), "trained", [{"fid": 10.0}, {"fid": 90.0, key: other}]), **options)
    assert [y for axes in figure.axes[::2] for _, y in lists(axes).values()] == [[10], [90]]


def test_scores_are_drawn_by_rate_and_divergence_is_marked():
    figure = drawn(
        fid_by_learning_rate,
        (entry("A", lr=1e-4), "trained", [{"fid": 40.0}]),
        (entry("A", lr=1e-2), "diverged", []),
        (entry("E", lr=1e-2), "trained", [{"fid": 30.0}]),
        (entry("E", 1, lr=1e-2), "diverged", []),
    )
    assert lists(figure.axes[0]) == {"A": ([1e-4], [40])}
    assert {"A ×", "E × 1/2"} <= {text.get_text() for text in figure.axes[0].texts}
    assert "Not shown: A (1 diverged), E (1 trained beside seeds that diverged), E (1 diverged)." in footnote(figure)


def test_a_line_has_a_gap_where_a_seed_diverged():
    """At 1e-3 the seed that is left has the best score of all."""
    runs = [(entry("E", seed, lr=lr), "trained", [{"fid": 30.0}]) for lr in (1e-4, 1e-2) for seed in (0, 1)]
    left = [(entry("E", 0, lr=1e-3), "trained", [{"fid": 1.0}]), (entry("E", 1, lr=1e-3), "diverged", [])]
    fid, _ = drawn(fid_by_learning_rate, *runs, *left).axes
    (line,) = [line for line in fid.lines if line.get_label() == "E"]
    assert line.get_xdata().tolist() == [1e-4, 1e-3, 1e-2]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    assert "E × 1/2" in [text.get_text() for text in fid.texts]


@pytest.mark.parametrize(("function", "options"), [(fid_over_training, {}), (fid_by_ema_width, {"usual_width": 0.05})])
def test_a_configuration_of_which_a_seed_diverged_has_no_mean(function, options):
    runs = [(entry(config, seed), "trained", [{"fid": 30.0}]) for config in "AE" for seed in (0, 1)]
    figure = drawn(function, *runs, (entry("E", 2), "diverged", []), **options)
    assert set(lists(figure.axes[0])) & {"A", "E"} == {"A"}
    assert "Not shown: E (2 trained beside seeds that diverged), E (1 diverged)." in footnote(figure)


@pytest.mark.parametrize(("function", "options"), [(fid_over_training, {}), (fid_by_ema_width, {"usual_width": 0.05})])
def test_figures_of_scores_say_that_rates_were_not_tuned(function, options):
    runs = [(entry(config), "trained", [{"fid": 30.0}]) for config in "AE"]
    assert "tuned" not in footnote(drawn(function, *runs, **options))
    data = frames(*runs)
    data["runs"]["tuning"] = "given"
    figure = draw(lambda: function(data["runs"], data["fid"], **options))
    assert "Learning rates were not tuned, so differences may be due to learning rates." in footnote(figure)


def test_best_widths_are_chosen_on_other_sampling_seeds_than_those_shown():
    """The first sampling seed prefers 0.1, the second would prefer 0.05: the second is shown, with the star at 0.1."""
    scores = [
        {"ema_width": width, "sampling_seed": seed, "fid": 1.0, "kid": kid}
        for width, kids in ((0.05, (0.3, 0.1)), (0.1, (0.2, 0.4)), (None, (0.5, 0.5)))
        for seed, kid in enumerate(kids)
    ]
    fid, kid = drawn(fid_by_ema_width, (entry("A"), "trained", scores), usual_width=0.05).axes
    assert lists(kid) == {"A": ([0, 0.05, 0.1], [500, 100, 400])}
    (star,) = [line for line in kid.lines if line.get_marker() == "*"]
    assert (star.get_xdata().tolist(), star.get_ydata().tolist()) == ([0.1], [400])
    assert [text.get_text() for text in fid.get_xticklabels()] == ["none", "0.05", "0.1"]


def test_paired_sampling_seeds_are_all_shown():
    """Each run has a sampling seed of its own, so no width is chosen on one of them."""
    scores = [{"ema_width": width, "fid": 1.0, "kid": 0.1 + width} for width in (0.05, 0.1)]
    runs = [
        (entry("A", seed), "trained", [{**score, "kid": score["kid"] + seed} for score in scores]) for seed in (0, 1)
    ]
    figure = drawn(fid_by_ema_width, *runs, usual_width=0.05)
    assert lists(figure.axes[1])["A"] == ([0.05, 0.1], [pytest.approx(650), pytest.approx(700)])
    assert "chosen on the scores that are shown" in footnote(figure)


def test_a_panel_of_kid_says_that_there_is_none():
    """With precomputed statistics there is neither KID nor a score of real images."""
    none = {"kid": np.nan, "fid_floor": np.nan, "kid_floor": np.nan, "reference_count": np.nan}
    fid, kid = drawn(fid_over_training, (entry("A"), "trained", [{"fid": 9.0, **none}])).axes
    assert lists(fid) == {"A": ([100], [9])}
    assert lists(kid) == {}
    assert "no data yet" in [text.get_text() for text in kid.texts]


@pytest.mark.parametrize(("floor", "words"), [(0.01, "below"), (4000.0, "above")])
def test_a_score_of_real_images_that_is_out_of_sight_is_given_in_words(floor, words):
    scores = [{"step": 50, "fid": 500.0, "fid_floor": floor}, {"step": 100, "fid": 60.0, "fid_floor": floor}]
    fid, _ = drawn(fid_over_training, (entry("A"), "trained", scores)).axes
    assert f"real images: {floor:.4g} ({words})" in [text.get_text() for text in fid.texts]
