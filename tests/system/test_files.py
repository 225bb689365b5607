"""Files appear complete or not at all, and unreadable ones are errors that name them."""

import pytest

from mpdit.system.errors import UserError
from mpdit.system.files import file_hash, read_json, replacing, write_csv, write_json, write_text
from mpdit.system.seals import seal_file


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "samples.npz"
    with replacing(path) as part:
        assert part.parent == path.parent and part.suffix == ".npz" and part != path
        part.write_text("complete")
        assert not path.exists()
    assert path.read_text() == "complete"
    assert sorted(path.parent.iterdir()) == [seal_file(path), path]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_read_as_it_was_written(tmp_path):
    value = {"run": "a", "ema_width": None, "betas": [0.9, 0.99], "sub": {"flips": "none"}}
    write_json(tmp_path / "spec.json", value)
    assert read_json(tmp_path / "spec.json") == value
    assert (tmp_path / "spec.json").read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"{", "not valid JSON"), (b"\xff", "not valid JSON")]
)
def test_unreadable_json_is_an_error_that_names_the_file(tmp_path, content, message):
    path = tmp_path / "spec.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_missing_columns_of_a_csv_stay_empty_and_unknown_ones_are_errors(tmp_path):
    path = tmp_path / "runs.csv"
    write_csv(path, ("run", "loss"), [{"run": "a", "loss": 0.5}, {"run": "b"}])
    assert path.read_text() == "run,loss\na,0.5\nb,\n"
    with pytest.raises(ValueError, match="typo"):
        write_csv(path, ("run", "loss"), [{"run": "a", "typo": 1}])
    assert path.read_text() == "run,loss\na,0.5\nb,\n"


def test_a_hash_depends_on_the_content_only(tmp_path):
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        write_text(tmp_path / name, text)
    first, second, third = (file_hash(tmp_path / name) for name in "abc")
    assert first == second != third
    assert len(first) == 16
