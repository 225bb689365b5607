"""What is known of a study's pictures, and the state of a path."""

import json
import os

import pytest

from mpdit.experiment.known_source import Finding, KnownSource, path_state, read_known, remember
from mpdit.system.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures in two class folders."""
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.png").write_bytes(b"1")
    return tmp_path / "pictures"


def later(path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def test_the_state_of_a_file_is_its_size_and_time(tmp_path):
    file = tmp_path / "a.zip"
    assert path_state(str(file)) is None
    file.write_bytes(b"12")
    before = path_state(str(file))
    assert before == path_state(str(file)) and len(before) == 16
    later(file)
    after = path_state(str(file))
    time = file.stat().st_mtime_ns
    file.write_bytes(b"123")
    os.utime(file, ns=(0, time))
    assert len({before, after, path_state(str(file))}) == 3


def test_the_state_of_a_folder_changes_with_what_is_in_its_class_folders(folder):
    before = path_state(str(folder))
    (folder / "b" / "2.png").write_bytes(b"2")
    later(folder / "b")
    assert path_state(str(folder)) != before


def test_a_pattern_has_the_state_of_the_files_that_match_it(tmp_path):
    pattern = str(tmp_path / "train-*.parquet")
    assert path_state(pattern) is None
    for number in (1, 2):
        (tmp_path / f"train-{number}.parquet").write_bytes(b"1")
    before = path_state(pattern)
    (tmp_path / "other.parquet").write_bytes(b"1")
    assert path_state(pattern) == before
    (tmp_path / "train-3.parquet").write_bytes(b"1")
    assert path_state(pattern) != before


def test_a_link_to_nowhere_has_a_state(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert path_state(str(tmp_path / "link")) is not None


def test_pictures_are_remembered_at_every_path_where_they_were_found(tmp_path):
    file = tmp_path / "sources/x.json"
    assert read_known(file) is None
    remember(file, Finding("data.path", "a.zip", "1"), "ff")
    remember(file, Finding("data.path", "b", "2"), "ff")
    remember(file, Finding("data.path", "a.zip", "3"), "ff")
    assert read_known(file) == KnownSource("ff", {"a.zip": "3", "b": "2"})
    before = file.stat().st_mtime_ns
    remember(file, Finding("data.path", "b", "2"), "ff")
    remember(file, Finding("data.path", None, None), "ff")
    assert file.stat().st_mtime_ns == before


def test_other_pictures_are_one_line_that_says_what_to_do(tmp_path):
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"fingerprint": "0123456789abcdef", "states": {"a.zip": "1"}}))
    with pytest.raises(UserError) as error:
        remember(file, Finding("data.path", "b.zip", "2"), "fedcba9876543210")
    assert str(error.value) == (
        f"data.path: b.zip: holds other pictures (fedcba987654) than those that results here were made from "
        f"(0123456789ab in {file}); give the new ones a data.name of their own, or see "
        f"docs/how-to/own-pictures.md for how to replace the old ones"
    )
    with pytest.raises(UserError, match="; give the new ones a file name of their own, or see"):
        remember(file, Finding("scoring.reference", "b.zip", "2"), "fedcba9876543210")
    assert read_known(file).states == {"a.zip": "1"}
    remember(file, Finding("scoring.reference", "b.npz", "2"), "fedcba9876543210", replace=True)
    assert read_known(file) == KnownSource("fedcba9876543210", {"b.npz": "2"})
