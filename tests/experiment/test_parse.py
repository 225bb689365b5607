"""YAML is read so that no mistake in it passes in silence."""

import pytest

from mpdit.experiment.grid import read_experiment
from mpdit.experiment.parse import load_yaml, parse_data, read_configuration
from mpdit.experiment.schema import Configuration
from mpdit.system.errors import UserError

KEYS = ", ".join(Configuration.model_fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "c.yaml: line 3: key 'a' appears twice, first in line 1"),
        ("x: {a: 1, a: 2}", "c.yaml: line 1: key 'a' appears twice, first in line 1"),
        ("x:\n  y:\n    1: a\n    1: b", "c.yaml: line 4: key 1 appears twice, first in line 3"),
        ("a: [1", "c.yaml: line 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2", "c.yaml: line 2: found character '\\t' that cannot start any token"),
    ],
)
def test_bad_yaml_is_one_line_with_its_line_number(text, message):
    with pytest.raises(UserError) as error:
        load_yaml(text, "c.yaml")
    assert str(error.value) == message


def test_a_merged_mapping_may_repeat_keys_that_it_replaces():
    assert load_yaml("base: &base {a: 1, b: 2}\nother: {<<: *base, a: 3}", "")["other"] == {"a": 3, "b": 2}


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path, content, message in (
        (tmp_path / "none.yaml", None, "no such file"),
        (tmp_path / "latin.yaml", "name: caf\xe9".encode("latin-1"), "not UTF-8 text; expected a YAML file"),
        (tmp_path, None, "Is a directory; expected a YAML file"),
        (tmp_path / "empty.yaml", b"# nothing yet\n", f"expected a mapping with keys from {KEYS}, got None"),
        (tmp_path / "list.yaml", b"- data\n", f"expected a mapping with keys from {KEYS}, got ['data']"),
    ):
        if content:
            path.write_bytes(content)
        with pytest.raises(UserError) as error:
            read_configuration(path)
        assert str(error.value) == f"{path}: {message}"


def test_each_mistake_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("data: {name: x, source: mnist, resolution: 0}\nexperiments: {}\n")
    with pytest.raises(UserError) as error:
        read_experiment(path)
    assert str(error.value).splitlines() == [
        f"{path}: data.resolution: expected a whole number of at least 1, got 0",
        f"{path}: experiments: expected a mapping of at least one block, such as table1, got {{}}",
    ]


def test_the_data_section_alone_is_checked_under_its_own_name():
    with pytest.raises(UserError) as error:
        parse_data({"name": "x", "source": "folder", "resolution": 8, "flip": "both"})
    assert str(error.value) == (
        "data: unknown key 'flip' (did you mean 'flips'?); expected one of name, source, path, resolution, "
        "autoencoder, flips, broken, links, holdout"
    )
    with pytest.raises(UserError, match=r"^data.path: missing; expected the folder of images$"):
        parse_data({"name": "x", "source": "folder", "resolution": 8})
