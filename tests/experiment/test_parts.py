"""The registry of parts: what is refused, and what enters the names of runs."""

import pytest

from mpdit.experiment import parts
from mpdit.experiment.ladder import LADDER, choices, resolve
from mpdit.model import dit  # noqa: F401  # provides the factories of the package's own parts
from mpdit.system.errors import UserError

pytestmark = pytest.mark.usefixtures("registries")
FIELDS = vars(LADDER["E"])


def test_every_part_of_the_package_has_a_factory():
    for kind, found in parts.PARTS.items():
        assert tuple(found) == parts.SHIPPED[kind]
        assert all(part.factory is not None for part in found.values())


def test_a_registered_part_is_a_choice_and_resolves():
    parts.register("activation", "relu2", version=1)(lambda context: None)
    assert choices("activation")[-1] == "relu2"
    assert resolve({**FIELDS, "activation": "relu2"}).activation == "relu2"


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("mp silu", {"version": 1}, "activation 'mp silu': expected a name of letters, digits and underscores"),
        ("silu", {"version": 1}, "activation 'silu': the name is taken, by the package itself; choose another name"),
        ("new", {"version": 0}, "version: expected a whole number of at least 1, got 0"),
        ("new", {"version": True}, "version: expected a whole number of at least 1, got True"),
        ("new", {"version": 1, "slope": print}, "options: expected numbers, texts, lists and mappings"),
        ("new", {"version": 1, "slope": float("nan")}, "options: expected numbers, texts, lists and mappings"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_one_line(name, options, problem):
    with pytest.raises(UserError) as error:
        parts.register("activation", name, **options)
    assert problem in str(error.value) and "\n" not in str(error.value)


def test_a_name_taken_by_another_part_of_the_study_names_its_line():
    parts.register("norm", "rms", version=1)(lambda context: None)
    with pytest.raises(UserError, match=r"norm 'rms': the name is taken, by .*test_parts.py, line \d+;"):
        parts.register("norm", "rms", version=2)


def test_the_parts_of_the_package_enter_no_names():
    assert all(parts.identities(vars(config), "scale_rotate") == {} for config in LADDER.values())


def test_version_and_options_of_other_parts_enter_names():
    parts.register("norm", "rms", version=3)(lambda context: None)
    parts.register("modulation", "film", version=1, rank=4)(lambda context, rank: None)
    assert parts.identities({**FIELDS, "norm": "rms"}, "film") == {
        "norm": {"name": "rms", "version": 3},
        "modulation": {"name": "film", "version": 1, "options": {"rank": 4}},
    }


@pytest.mark.parametrize(
    ("recorded", "problem"),
    [
        (
            {"norm": {"name": "rms", "version": 2}},
            "norm 'rms': made with version 2, but .*test_parts.py, line .* has version 1",
        ),
        (
            {"norm": {"name": "rms", "version": 1, "options": {"eps": 1e-4}}},
            "made with version 1 and eps 0.0001, but .* has version 1;",
        ),
        ({}, "norm 'rms': made with one of the package's own, but .*test_parts.py, line .* has version 1"),
    ],
)
def test_a_run_needs_the_parts_that_it_was_made_with(recorded, problem):
    parts.register("norm", "rms", version=1)(lambda context: None)
    fields = {**FIELDS, "norm": "rms"}
    parts.require({"norm": {"name": "rms", "version": 1}}, fields, "scale")
    with pytest.raises(UserError, match=problem):
        parts.require(recorded, fields, "scale")


def test_an_unknown_part_tells_how_to_name_the_study():
    with pytest.raises(UserError) as error:
        parts.require({}, {**FIELDS, "norm": "rms"}, "scale")
    assert str(error.value) == (
        "norm 'rms': expected one of layer, none; a part of your own needs the study.py that registers it "
        "(--study FILE, or study=FILE in Python)"
    )


@pytest.mark.parametrize(
    ("recorded", "problem"),
    [
        ({}, "norm: expected one of layer, none, or a part under `parts`, got 'rms'"),
        ({"norm": {"name": "rms2", "version": 1}}, "parts.norm.name: expected rms, got 'rms2'"),
    ],
)
def test_a_record_that_does_not_cover_the_fields_is_refused(recorded, problem):
    parts.require_recorded({"norm": {"name": "rms", "version": 7}}, {**FIELDS, "norm": "rms"}, "scale")
    with pytest.raises(UserError) as error:
        parts.require_recorded(recorded, {**FIELDS, "norm": "rms"}, "scale")
    assert str(error.value) == problem
