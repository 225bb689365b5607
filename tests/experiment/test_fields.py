"""Values that no file name, command or CSV could carry are refused where they enter."""

import pytest
from helpers.projects import tiny_study

from mpdit.experiment import Experiment
from mpdit.system.errors import UserError


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("data", "name", "n" * 181, "a name of at most 180 bytes"),
        ("data", "name", "é" * 91, "a name of at most 180 bytes"),
        ("data", "name", "..", "a name that is not the folder above"),
        ("data", "name", "{run}", "a name of letters, digits, underscores and dots"),
        ("data", "path", "a\nb", "a text without control characters"),
        ("data", "path", "a\0b", "a text without control characters"),
        ("data", "holdout", 2**53 + 1, "a whole number of at most 2^53"),
        ("training", "steps", 10**400, "a whole number of at most 2^53"),
        ("sampling", "count", 10**30, "a whole number of at most 2^53"),
    ],
)
def test_a_value_that_cannot_be_carried_is_one_line(section, key, value, expected):
    with pytest.raises(UserError) as error:
        Experiment(tiny_study(**{section: {key: value}}))
    assert str(error.value).startswith(f"{section}.{key}: expected {expected}, got ")
    assert "\n" not in str(error.value) and len(str(error.value)) < 160


@pytest.mark.parametrize("name", ["b" * 181, ".."])
def test_a_block_is_named_so_that_a_folder_can_be(name):
    study = tiny_study()
    with pytest.raises(UserError, match=r"^experiments: expected a name (of at most 180 bytes|that is not)"):
        Experiment(study | {"experiments": {name: study["experiments"]["table1"]}})


def test_a_path_may_hold_whatever_else_a_path_may():
    assert Experiment(tiny_study(data={"path": "C’est là/{x} 'y' $z%/\u00a0.zip"}))
