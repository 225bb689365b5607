"""YAML is read so that no mistake in it passes in silence."""

import pytest

from mpdit.experiment.yaml_text import load_yaml
from mpdit.system.errors import UserError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "c.yaml: line 3: key 'a' appears twice, first in line 1"),
        ("x: {a: 1, a: 2}", "c.yaml: line 1: key 'a' appears twice, first in line 1"),
        ("x:\n  y:\n    1: a\n    1: b", "c.yaml: line 4: key 1 appears twice, first in line 3"),
        ("a: [1", "c.yaml: line 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: 2001-99-99", "c.yaml: line 2: '2001-99-99' is no valid timestamp; put it in quotes if it is text"),
        ("b: !!int x", "c.yaml: line 1: 'x' is no valid int; put it in quotes if it is text"),
        (f"b: {'9' * 5000}", f"c.yaml: line 1: '{'9' * 56}... is no valid int; put it in quotes if it is text"),
        ("[" * 10_000, "c.yaml: not valid YAML (nested too deeply)"),
        ("a: 1\n\tb: 2", "c.yaml: line 2: found character '\\t' that cannot start any token"),
    ],
)
def test_bad_yaml_is_one_line_with_its_line_number(text, message):
    with pytest.raises(UserError) as error:
        load_yaml(text, "c.yaml")
    assert str(error.value) == message


def test_a_merged_mapping_may_repeat_keys_that_it_replaces():
    assert load_yaml("base: &base {a: 1, b: 2}\nother: {<<: *base, a: 3}", "")["other"] == {"a": 3, "b": 2}
