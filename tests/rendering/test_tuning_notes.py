"""The sentence about configurations that were not tuned alike."""

from helpers.made_up_runs import entry, frames

from mpdit.rendering.tuning_notes import tuning_note


def note(*entries: dict) -> str:
    return tuning_note(frames(*((run, "trained", []) for run in entries))["runs"].to_dict("records"))


def test_configurations_that_were_tuned_alike_need_no_sentence():
    assert note(entry("A"), entry("E")) == ""
    assert note(entry("A", tuning="given")) == ""  # nothing is compared
    assert note(entry("A"), entry("E"), entry("E", lr=1.0, tuning="other", standard_lr=False)) == ""


def test_whatever_is_not_tuned_is_named():
    assert note(entry("A"), entry("D", tuning="edge"), entry("E", tuning="edge")) == (
        "Not tuned alike, so differences may be due to learning rates. Config D and Config E: the search ended at an "
        "edge, so a better rate may lie beyond it."
    )
    assert "another number of steps" in note(entry("A"), entry("E", tuning="horizon"))
    both = note(entry("A", tuning=None), entry("E", tuning="given"))
    assert both.startswith("Learning rates were not tuned, so differences")
    assert "with scale + rotate: " in note(entry("E"), entry("E", modulation="scale_rotate", tuning="other"))


def test_searches_of_different_length_are_not_alike():
    assert note(entry("A", tuning_rates=5), entry("E", tuning_rates=8)) == (
        "Not tuned alike, so differences may be due to learning rates. Searches differ in length: Config A with "
        "5 rates, Config E with 8 rates."
    )
