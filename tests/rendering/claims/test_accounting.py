"""Claims about parameters and step times."""

import pandas as pd
import pytest
from helpers.made_up_studies import cost_row, run, seeds, study
from helpers.paper_verdicts import judged_alone, verdict_rows


def test_parameters_are_counted_and_need_no_seeds():
    data = study(run("E", 0, 50.0), run("E", 0, 50.0, modulation="scale_rotate"))
    data["runs"]["parameters"] = [32_956_416.0, 32_956_416.0 - 1_769_472]
    (row,) = verdict_rows(data, "rotation-parameters").to_dict("records")
    assert row["ours"] == row["low"] == row["high"] == pytest.approx(-5.369, abs=0.001)
    assert (row["verdict"], row["n"]) == ("holds", 0)
    data["runs"]["parameters"] = [100.0, 80.0]
    assert verdict_rows(data).set_index("claim").loc["rotation-parameters", "verdict"] == "fails"
    assert judged_alone("rotation-parameters", run("E", 0, 50.0))["verdict"] == "not run"


@pytest.mark.parametrize(
    ("textbook", "cheap", "expected"),
    [
        ((1.08, 1.05, 1.1), (1.02, 0.99, 1.06), ("holds", "holds")),
        ((1.5, 1.4, 1.6), (1.2, 1.1, 1.3), ("fails", "fails")),
        ((1.08, 1.01, 1.1), (1.05, 1.0, 1.1), ("undecided", "undecided")),
    ],
)
def test_step_times_are_judged_by_their_own_interval_for_each_form(textbook, cheap, expected):
    cost = pd.DataFrame([cost_row(*textbook), cost_row(*cheap, "cheap"), cost_row(9.0, 9.0, 9.0, modulation="scale")])
    data = study(*seeds("E", 50.0), cost=cost)
    rows = [verdict_rows(data).set_index("claim").loc[name] for name in ("time-textbook", "time-cheap")]
    assert tuple(row["verdict"] for row in rows) == expected
    assert [rows[0]["ours"], rows[0]["low"], rows[0]["high"]] == pytest.approx([100 * (x - 1) for x in textbook])
    assert rows[0]["decides"] == ("more rounds on a quiet machine" if expected[0] == "undecided" else "")
    assert judged_alone("time-cheap", run("E", 0), cost=pd.DataFrame([cost_row(*textbook)]))["verdict"] == "not run"
    assert judged_alone("time-cheap", run("E", 0))["verdict"] == "not run"
