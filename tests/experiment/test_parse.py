"""Configuration files are read so that no mistake in them passes in silence."""

from itertools import pairwise

import pytest

from mpdit.experiment.grid import read_experiment
from mpdit.experiment.parse import parse_configuration, parse_data, read_configuration
from mpdit.experiment.schema import Configuration
from mpdit.experiment.yaml_text import load_yaml
from mpdit.system.errors import UserError
from mpdit.system.files import write_text

KEYS = ", ".join(Configuration.model_fields)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("*z", "[" * 26 + "'x', " * 6 + "'..."),
        ("&self [*self]", "[" * 57 + "..."),
        ("[1, {2: {}, a: null}]", "[1, {2: {}, 'a': None}]"),
    ],
)
def test_a_message_repeats_no_more_of_a_value_than_fits(value, shown):
    """Each of 26 lists holds the one before it ten times: written out, the last one would never end."""
    names = "abcdefghijklmnopqrstuvwxyz"
    lists = [f"a: &a [{', '.join('x' * 10)}]"]
    lists += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise(names)]
    with pytest.raises(UserError) as error:
        parse_configuration(load_yaml("\n".join([*lists, f"data: {value}"]), "c.yaml"))
    assert str(error.value).splitlines()[0].endswith(f"holdout, got {shown}")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path, content, message in (
        (tmp_path / "none.yaml", None, "no such file; expected a YAML file"),
        (tmp_path / "latin.yaml", "name: caf\xe9".encode("latin-1"), "not UTF-8 text; expected a YAML file"),
        (tmp_path, None, "is a folder, not a file; expected a YAML file"),
        (tmp_path / "empty.yaml", b"# nothing yet\n", f"expected a mapping with keys from {KEYS}, got None"),
        (tmp_path / "list.yaml", b"- data\n", f"expected a mapping with keys from {KEYS}, got ['data']"),
    ):
        if content:
            path.write_bytes(content)
        with pytest.raises(UserError) as error:
            read_configuration(path)
        assert str(error.value) == f"{path}: {message}"


def test_a_sealed_file_that_has_changed_is_one_line(tmp_path):
    path = tmp_path / "configuration.yaml"
    write_text(path, "data: {name: x}\n")
    assert read_configuration(path) == {"data": {"name": "x"}}
    path.write_text("data: {name: y}\n")
    with pytest.raises(
        UserError, match=r"configuration.yaml: damaged: .*; copy it under another name to change it, or "
    ):
        read_configuration(path)


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
