"""Controls: comparisons whose outcome is known."""

import pytest
from helpers.made_up_studies import run, study
from helpers.paper_verdicts import claims

from mpdit.rendering.claims.controls import failed_controls
from mpdit.rendering.claims.settings import StudySettings

A = (80.0, 81.0, 79.0, 80.5, 80.2)


def controlled(name: str, scores: tuple[float, ...], first_seed: int, **axes: object) -> dict:
    """A study of Config A with a control of these scores."""
    study_runs = [run("A", seed, score) for seed, score in enumerate(A)]
    control = [
        run("A", first_seed + position, {"fid": score, "sampling_seed": position}, **axes)
        for position, score in enumerate(scores)
    ]
    settings = StudySettings(controls={name: tuple(entry["run"] for entry, _, _ in control)})
    return study(*study_runs, *control) | {"settings": settings}


@pytest.mark.parametrize(
    ("scores", "fails"), [((80.1, 80.6, 79.5, 80.4, 80.9), False), ((70.1, 70.9, 69.5, 70.4, 70.9), True)]
)
def test_the_same_configuration_with_other_seeds_must_come_out_level(scores, fails):
    data = controlled("control_same", scores, 100)
    sentences = failed_controls(data)
    assert [sentence.startswith("A control has failed: the same configuration") for sentence in sentences] == (
        [True] if fails else []
    )
    data = controlled("control_same", scores, 100)
    assert claims(data).frame["claim"].size  # the runs of the control are in no claim


@pytest.mark.parametrize(
    ("scores", "fails"), [((90.1, 91.2, 89.3, 90.4, 90.8), False), ((80.1, 80.9, 79.2, 80.4, 80.3), True)]
)
def test_a_known_degradation_must_come_out_worse(scores, fails):
    runs = [run("A", seed, score) for seed, score in enumerate(A)]
    shorter = [run("A", seed, score, run=f"shorter-{seed}") for seed, score in enumerate(scores)]
    settings = StudySettings(controls={"control_worse": tuple(f"shorter-{seed}" for seed in range(len(scores)))})
    data = study(*runs, *shorter) | {"settings": settings}
    sentences = failed_controls(data)
    assert [sentence.startswith("A control has failed: the known degradation") for sentence in sentences] == (
        [True] if fails else []
    )


def test_only_how_often_controls_diverge_is_compared_where_they_do():
    """The scores of the one that is left would be level, and better."""
    runs = [run("A", seed, score) for seed, score in enumerate(A)]
    gone = [run("A", seed, status="diverged", run=f"control-{seed}") for seed in range(4)]
    members = tuple(entry["run"] for entry, _, _ in [*gone, run("A", 4, 79.0, run="control-4")])
    data = study(*runs, *gone, run("A", 4, 79.0, run="control-4"))
    worse = data | {"settings": StudySettings(controls={"control_worse": members})}
    assert failed_controls(worse) == []
    (sentence,) = failed_controls(data | {"settings": StudySettings(controls={"control_same": members})})
    assert "(4 of 5 runs diverged, against 0 of 5)" in sentence and sentence.startswith("A control has failed")
    once = StudySettings(controls={"control_worse": members[3:]})
    (sentence,) = failed_controls(data | {"settings": once})
    assert sentence.startswith("Control: too few finished runs")


def test_controls_that_cannot_be_judged_say_so():
    assert failed_controls(controlled("control_same", (80.0,), 100)) == [
        "Control: too few finished runs with other seeds to tell whether they come out level."
    ]
