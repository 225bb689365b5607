"""Settings over seeds: statuses as counts, plain weights as a protocol of their own."""

import math

from helpers.made_up_runs import entry, frames

from mpdit.results.summary import StatusCounts, summarize, varying


def test_statuses_are_counted_in_the_order_of_the_runs():
    runs = [(entry("E", seed), status, []) for seed, status in enumerate(("diverged", "trained", "diverged"))]
    data = frames(*runs, (entry("A"), "diverged", []), (entry("B"), "trained", []))
    rows = summarize(data["runs"], data["fid"]).set_index("config")
    assert rows.loc["E", "statuses"] == StatusCounts((("diverged", 2), ("trained", 1)))
    assert rows.loc["A", "statuses"] == StatusCounts((("diverged", 1),), diverged_at=100)
    assert (rows.loc["E", "statuses"].number("diverged"), rows.loc["E", "statuses"].number("missing")) == (2, 0)
    assert [rows.loc[config, "statuses"].all_trained for config in "ABE"] == [False, True, False]
    assert rows["n"].tolist() == [0, 0, 0]


def test_plain_weights_are_a_protocol_of_their_own():
    scores = [{"fid": 1.0, "ema_width": None, "protocol": "plain"}, {"fid": 2.0, "ema_width": 0.1, "protocol": "wide"}]
    data = frames((entry("A"), "trained", scores), (entry("B"), "missing", []))
    rows = summarize(data["runs"], data["fid"])
    assert rows[rows["config"] == "A"]["fid_mean"].tolist() == [1.0, 2.0]
    assert rows["ema_width"].isna().tolist() == [True, False, True]
    assert varying(rows) == ["ema_width"]
    plain_alone = frames((entry("A"), "trained", scores[:1]), (entry("B"), "missing", []))
    assert varying(summarize(plain_alone["runs"], plain_alone["fid"])) == []


def test_means_are_missing_where_a_seed_diverged():
    scored = [(entry("E", seed), "trained", [{"fid": 50.0}]) for seed in (0, 1)]
    data = frames(*scored, (entry("E", 2), "diverged", []))
    (row,) = summarize(data["runs"], data["fid"]).to_dict("records")
    assert (row["n"], row["seed_values"].fid, row["seed_values"].diverged) == (2, {0: {0: 50.0}, 1: {1: 50.0}}, (2,))
    assert math.isnan(row["fid_mean"]) and math.isnan(row["kid_mean"])
