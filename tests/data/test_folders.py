"""Folders as people have them, with links, loops, pipes and what may not be read: found when they are listed."""

import os
import re
import zipfile

import pytest
from helpers.packings import PICTURES, data_of, write_folder, write_parquet, write_zip

from mpdit.data import folders
from mpdit.data.sources import open_source, rgb_images
from mpdit.system.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """An ImageFolder."""
    return write_folder(tmp_path / "it", PICTURES)


def names_in(path, packing="folder", **fields):
    return list(open_source(data_of(packing, path, **fields)).names)


def mistake(path, packing="folder", **fields):
    """The message, one line, that listing a folder ends with."""
    with pytest.raises(UserError) as error:
        names_in(path, packing, **fields)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "it")


def test_links_within_the_folder_and_a_link_in_its_place_are_followed(tree):
    (tree / ".store").mkdir()
    (tree / "n01/0.JPEG").rename(tree / ".store/first")  # as git-annex and other stores of files do
    (tree / "n01/0.JPEG").symlink_to("../.store/first")
    (tree / "n02").rename(tree / ".store/n02")
    (tree / "n02").symlink_to(".store/n02")
    link = tree.with_name("link")
    link.symlink_to(tree)
    for path in (tree, link):
        assert names_in(path) == sorted(PICTURES)


@pytest.mark.parametrize("name", ["n02", "n02/0.JPEG"], ids=["class", "picture"])
def test_links_out_of_the_folder_are_followed_only_if_told_to(tree, name):
    elsewhere = tree.with_name("elsewhere")
    (tree / name).rename(elsewhere)
    (tree / name).symlink_to(elsewhere)
    assert mistake(tree) == (
        f"it: {name}: a link that leads out of this folder, to {elsewhere}; if that is meant, set data.links: follow"
    )
    data = data_of("folder", tree, links="follow")
    assert len(list(rgb_images(open_source(data), data))) == len(PICTURES)
    assert names_in(tree, links="follow") == sorted(PICTURES)


def test_a_shard_that_is_a_link_out_of_its_folder_is_followed_only_if_told_to(tmp_path):
    path = write_parquet(tmp_path / "it")
    shard = path / "train-00001-of-00003.parquet"
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")  # as in the cache of the hub
    assert mistake(path, "parquet").startswith(f"it: {shard.name}: a link that leads out of this folder, to ")
    assert len(names_in(path, "parquet", links="follow")) == len(names_in(f"{path}/*.parquet", "parquet")) == 10


@pytest.mark.parametrize("links", ["error", "follow"])
@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("n02/loop", "../n02", "it: n02/loop: the same folder as n02; remove the link"),
        ("n02/loop", "..", "it: n02/loop: the same folder as the one it is in; remove the link"),
        ("n03", "n02", "it: n0[23]: the same folder as n0[23]; remove the link"),
        ("n03", "n03", r"it: n03: a link that leads nowhere \(it/n03\)"),
        ("n03", "../unmounted", r"it: n03: a link that leads nowhere \(.*/unmounted\)"),
        ("n02/9.JPEG", "nowhere", r"it: n02/9.JPEG: a link that leads nowhere \(it/n02/nowhere\)"),
    ],
)
def test_links_that_loop_or_lead_nowhere_are_one_line(tree, links, name, target, message):
    (tree / name).symlink_to(target)
    assert re.match(message, mistake(tree, links=links))


def test_a_pipe_in_place_of_a_picture_is_one_line_and_others_do_not_matter(tree):
    os.mkfifo(tree / "n01/pipe")
    assert names_in(tree) == sorted(PICTURES)
    os.mkfifo(tree / "n01/pipe.png")
    assert mistake(tree) == "it: n01/pipe.png: not a regular file; remove it, or put a picture in its place"
    os.mkfifo(tree / "a.parquet")
    assert mistake(tree / "*.parquet", "parquet").endswith("a.parquet: not a regular file; expected a Parquet file")


def test_a_folder_that_cannot_be_read_is_one_line(tree, monkeypatch):
    scandir = os.scandir

    def refuses(folder):  # not by its mode, which does not bind an administrator
        if str(folder).endswith("n01/"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(folders.os, "scandir", refuses)
    assert mistake(tree) == "data.path: it/n01/: cannot be listed (Permission denied)"


def test_a_link_in_a_zip_is_one_line(tmp_path):
    path = write_zip(tmp_path / "it.zip")
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("n01/9.JPEG")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert mistake(path, "zip") == "it: n01/9.JPEG: a link; expected a regular file (zip without --symlinks)"
