"""The order of classes and pictures in an ImageFolder, packed or not."""

import pytest
from helpers.packings import data_of, noise_picture, write_folder, write_tar, write_zip

from mpdit.data.class_folders import is_picture, strip_enclosing_folders
from mpdit.data.sources import open_source
from mpdit.system.errors import UserError


def test_classes_are_sorted_by_folder_name_not_by_path(tmp_path):
    names = ["a/1.png", "a-b/1.png", "a/sub/0.PNG"]  # "-" sorts before "/"
    source = open_source(data_of("folder", write_folder(tmp_path / "it", dict.fromkeys(names, noise_picture(0)))))
    assert source.classes == ["a", "a-b"]
    assert list(source.names) == ["a/1.png", "a/sub/0.PNG", "a-b/1.png"]
    assert source.labels.tolist() == [0, 0, 1]


def test_the_only_class_of_a_zip_is_not_taken_for_an_enclosing_folder(tmp_path):
    assert open_source(data_of("zip", write_zip(tmp_path / "it", {"a/0.png": noise_picture(0)}))).classes == ["a"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_archives_may_begin_names_with_a_slash_or_a_dot(tmp_path, write):
    files = dict.fromkeys(["./a/0.png", "/a/1.png", "a/2.png", "/.//./b/0.png"], noise_picture(0))
    source = open_source(data_of("zip" if write is write_zip else "tar", write(tmp_path / "it", files)))
    assert list(source.names) == ["a/0.png", "a/1.png", "a/2.png", "b/0.png"]


def test_a_line_break_in_a_name_is_named_in_one_line(tmp_path):
    path = write_zip(tmp_path / "it", {"a\nb/0.png": noise_picture(0)})
    with pytest.raises(UserError) as error:
        open_source(data_of("zip", path))
    assert str(error.value) == f"{path}: a\\nb/0.png: a line break in its name; rename it"


def test_enclosing_folders_are_stripped_from_names_and_class_folders():
    names, folders = ["some/train/a/0.png", "some/train/b/c/1.png"], ["some/", "some/train/", "some/train/d/"]
    assert strip_enclosing_folders(names, folders) == (["a/0.png", "b/c/1.png"], ["d"])
    assert strip_enclosing_folders(["a/0.png"], ["b/"]) == (["a/0.png"], ["b"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/0.PNG", True), ("a/0.txt", False), ("a/.0.png", False), (".git/0.png", False), ("__MACOSX/a/0.png", False)],
)
def test_pictures_are_told_by_suffix_and_visibility(name, expected):
    assert is_picture(name) == expected
