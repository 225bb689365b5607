"""The same pictures from every packing: folder, zip, tar, tar of tars, Parquet; and what is wrong with each."""

import gzip
import io
import multiprocessing
import pickle
import subprocess
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.packings import PACK, PACKINGS, data, folder_of, parquet_of, tar_of, tar_of_tars, zip_of
from PIL import Image

from mpdit.commands.encode import encode
from mpdit.data import archives as sources
from mpdit.data import pictures as images_module
from mpdit.data.archives import Names
from mpdit.data.latents import Latents
from mpdit.data.pictures import images, open_source, save_index
from mpdit.system.errors import UserError


def picture(seed: int, size=(12, 10)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "jpeg")
    return buffer.getvalue()


# Not in order, with a long name, which takes a tar more than a header
FILES = {f"n0{name}/{index}.JPEG": picture(10 * name + index) for name in (2, 0, 1) for index in (1, 2, 0)}
FILES[f"n01/{'x' * 150}.JPEG"] = picture(99)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Packing -> `data` of FILES packed so."""
    root = tmp_path_factory.mktemp("packed")
    return {packing: data(packing, PACK[packing](root / packing, FILES)) for packing in PACKINGS}


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_holds_the_same(packed, packing):
    source, folder = open_source(packed[packing]), open_source(packed["folder"])
    assert source.classes == ["n00", "n01", "n02"] and source.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 3
    if packing != "parquet":
        assert list(source.names) == sorted(FILES)
    for index in reversed(range(len(source))):  # in any order
        assert source.read(index) == FILES[folder.names[index]]


def fingerprints(made: dict, folder) -> set:
    stores = {}
    for packing, fields in made.items():
        encode(open_source(fields), fields, folder / packing)
        latents = Latents(folder / packing)
        stores[packing] = latents
        assert np.array_equal(latents.mean, stores["folder"].mean)
        assert np.array_equal(latents.labels, stores["folder"].labels)
        assert latents.manifest["source"]["class_order"]
    return {latents.fingerprint for latents in stores.values()}


def test_latents_do_not_depend_on_the_packing(packed, tmp_path):
    assert len(fingerprints(packed, tmp_path)) == 1


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_real_imagenet_is_the_same_from_all_packings(shared_data, tmp_path, every):
    with zipfile.ZipFile(shared_data / "imagenet-1000.zip") as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".JPEG")]
        files = {name: archive.read(name) for name in pictures[::every]}
        grey = [name for name in pictures if Image.open(archive.open(name)).mode == "L"]
        files |= {name: archive.read(name) for name in grey}  # greyscale ones are among the real ones
    assert len(grey) == 23
    made = {packing: data(packing, PACK[packing](tmp_path / packing, files), resolution=16) for packing in PACKINGS}
    assert len(fingerprints(made, tmp_path / "stores")) == 1
    latents = Latents(tmp_path / "stores/parquet")
    assert latents.manifest["classes"] == sorted(name.split("/")[0] for name in files)
    if every == 1:
        known = {0: "n01440764", 207: "n02099601", 281: "n02123045", 388: "n02510455", 999: "n15075141"}
        assert {label: latents.manifest["classes"][label] for label in known} == known  # ImageNet's own numbers
        assert len(latents.manifest["classes"]) == 1000


def test_wrapped_tars_and_hidden_files(tmp_path):
    hidden = {"train/.git/a.JPEG": b"x", "train/n00/._0.JPEG": b"x", "train/n00/notes.txt": b"x"}
    wrapped = {f"train/{name}": content for name, content in FILES.items()}
    for name, files in {
        "plain": wrapped,
        "dotted": {f"./{name}": content for name, content in wrapped.items()},
    }.items():
        source = open_source(data("tar", tar_of(tmp_path / name, hidden | files, ["train/", "train/n00"])))
        assert list(source.names) == sorted(FILES)
        assert source.read(0) == FILES[source.names[0]]


@pytest.mark.parametrize("layout", ["ustar", "gnu", "pax"])
def test_what_tar_itself_packs(tmp_path, layout):
    files = FILES if layout != "ustar" else {name: FILES[name] for name in FILES if len(name) < 100}
    folder_of(tmp_path / "train", files)
    for name, what in {"inside.tar": ["-C", "train", "."], "around.tar": ["train"]}.items():
        subprocess.run(["tar", f"--format={layout}", "-cf", name, *what], cwd=tmp_path, check=True)
        source = open_source(data("tar", tmp_path / name))
        assert list(source.names) == sorted(files)
        assert [source.read(index) for index in range(len(source))] == [files[name] for name in source.names]


def test_plain_bytes_and_a_pattern_of_shards(tmp_path):
    path = parquet_of(tmp_path / "it", FILES, image=lambda rows: [row["bytes"] for row in rows], names=None)
    (path / "test-00000-of-00001.parquet").write_bytes((path / "train-00000-of-00003.parquet").read_bytes())
    source = open_source(data("parquet", f"{path}/train-*.parquet"))
    assert source.classes == ["0", "1", "2"] and len(source) == len(FILES)
    assert source.read(0) == FILES[sorted(FILES)[0]]
    assert source.names[0] == "train-00000-of-00003.parquet:0" and source.names[3] == "train-00001-of-00003.parquet:0"
    one = parquet_of(tmp_path / "one", FILES, shards=1) / "train-00000-of-00001.parquet"
    assert len(open_source(data("parquet", one))) == len(FILES)


def test_a_row_group_is_read_once_in_order(packed, monkeypatch):
    source, read = open_source(packed["parquet"]), []
    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *args, **kw: read.append(1) or whole(*args, **kw))
    for index in range(len(source)):
        source.read(index)
    assert len(read) == sum(pq.ParquetFile(file).num_row_groups for file in source.read.files)


def test_a_listing_is_small(tmp_path):
    count = 3000
    tar_of(tmp_path / "it", {f"n{index % 10:08}/n{index % 10:08}_{index}.JPEG": b"x" for index in range(count)})
    tracemalloc.start()
    source = open_source(data("tar", tmp_path / "it"))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == count
    assert kept < 100 * count and peak < 350 * count  # bytes a picture; an object of tarfile takes more alone


# In worker processes


def _crops(source, start):
    return [source.picture(index, 8).crop for index in range(start, len(source), 2)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_sources_go_to_worker_processes(packed, packing):
    source = open_source(packed[packing])
    expected = [_crops(source, start) for start in range(2)]  # opened here, too, before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        crops = pool.starmap(_crops, [(source, 0), (source, 1)])
    assert np.array_equal(np.concatenate(expected), np.concatenate(crops))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_pickled_source_reads_the_same(packed, packing):
    source = open_source(packed[packing])
    source.read(3)
    again = pickle.loads(pickle.dumps(source))
    assert [again.read(index) for index in range(len(again))] == [source.read(index) for index in range(len(source))]


# The index


@pytest.mark.parametrize("packing", [*PACKINGS, "mnist"])
def test_an_index_stands_for_the_listing(packed, packing, tmp_path, monkeypatch):
    fields = packed.get(packing) or {"name": "digits", "source": "mnist", "resolution": 8}
    source = open_source(fields)
    save_index(source, tmp_path / "index.npz")
    listed = images_module.SOURCES[fields["source"]]._replace(list=None)  # must not list again
    monkeypatch.setitem(images_module.SOURCES, fields["source"], listed)
    again = open_source(fields, index=tmp_path / "index.npz")
    assert again.classes == source.classes and list(again.names) == list(source.names)
    assert np.array_equal(again.labels, source.labels) and again.labels.dtype == np.int64
    for index in range(min(10, len(source))):
        one, other = source.picture(index, 8), again.picture(index, 8)
        assert one.identity == other.identity and np.array_equal(one.crop, other.crop)


def test_an_index_of_something_else_is_refused(packed, tmp_path):
    index = tmp_path / "index.npz"
    with pytest.raises(UserError, match=r"index\.npz: no such file$"):
        open_source(packed["tar"], index=index)
    save_index(open_source(packed["tar"]), index)
    with pytest.raises(UserError, match=r"index\.npz: an index of a tar: must be made again from .*zip$"):
        open_source(packed["zip"], index=index)
    other = data("tar", tar_of(tmp_path / "other.tar", FILES | {"n00/9.JPEG": picture(9)}))
    with pytest.raises(UserError, match=r"index\.npz: an index of another file, .* made again from .*other\.tar$"):
        open_source(other, index=index)
    index.write_bytes(index.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"index\.npz: not an index of pictures, or damaged: must be made again"):
        open_source(packed["tar"], index=index)


def test_packed_names_are_a_list(tmp_path):
    strings = ["a/1.png", "", "b/ünïcödé.jpg", "c/\udcff.jpg", "b" * 300]
    names = Names.pack(strings)
    assert list(names) == strings and names[-1] == strings[-1] and names[1:4:2] == strings[1:4:2] and len(names) == 5
    with pytest.raises(IndexError):
        names[5]


# Mistakes


@pytest.mark.parametrize("packing", ["tar", "tars", "parquet"])
def test_a_truncated_jpeg_is_named_or_left_out(tmp_path, packing):
    big = picture(5, size=(64, 64))
    path = PACK[packing](tmp_path / "it", FILES | {"n01/1.JPEG": big[: len(big) // 2]})
    name = r"train-00001-of-00003\.parquet:1" if packing == "parquet" else r"n01/1\.JPEG"
    with pytest.raises(UserError, match=rf"it: {name}: broken picture \(.*truncated.*\): must be replaced"):
        list(images(data(packing, path)))
    assert len(list(images(data(packing, path, broken="skip")))) == len(FILES) - 1


def link_tar(path):
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("n00/0.JPEG")
        member.type, member.linkname = tarfile.SYMTYPE, "elsewhere.JPEG"
        archive.addfile(member)
    return path


def cut(path, bytes_off):
    path.write_bytes(path.read_bytes()[:-bytes_off])
    return path


def spoiled_tar(path):
    """Garbage where the second header should stand: tarfile itself takes that for the end of the archive."""
    tar_of(path, FILES)
    with tarfile.open(path) as archive:
        second = archive.getmembers()[1].offset
    content = path.read_bytes()
    path.write_bytes(content[:second] + b"x" * 512 + content[second + 512 :])
    return path


def twice(path):
    tar_of(path, FILES)
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("n00/0.JPEG"))
    return path


NO_PICTURES = r"it: no pictures: must hold CLASS/PICTURE"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"data\.path: .*it: no such file: must be a plain tar"),
        (lambda path: path.write_text("x"), r"it: damaged, cut short or no tar archive \(truncated header\): must be"),
        (lambda path: path.write_bytes(b""), r"it: damaged, cut short or no tar archive \(empty file\)"),
        (lambda path: zip_of(path, FILES), r"it: damaged, cut short or no tar archive"),
        (lambda path: path.write_bytes(gzip.compress(b"x")), r"it: compressed with gzip: must be a plain tar.*unpack"),
        (lambda path: tar_of(path, {}), NO_PICTURES),
        (lambda path: tar_of(path, {"x.png": b"x"}), r"it: x\.png: lies in no class folder"),
        (lambda path: tar_of(path, FILES, ["n07"]), r"it: n07: class folder without pictures"),
        (lambda path: tar_of_tars(path, FILES | {"n07/x.txt": b""}), r"it: n07: class folder without pictures"),
        (lambda path: tar_of_tars(path, FILES, {"a/b.png": b"x"}), r"it: holds n02\.tar and a/b\.png: must"),
        (lambda path: tar_of(path, {"n00.tar": b"no tar at all"}), r"it: n00\.tar: damaged, cut short or no tar"),
        (lambda path: cut(tar_of(path, FILES), 9_000), r"it: damaged, cut short or no tar archive"),
        (spoiled_tar, r"it: damaged, cut short or no tar archive \(no end at byte 1,"),
        (link_tar, r"it: n00/0\.JPEG: a link or sparse: must be a regular file"),
        (twice, r"it: n00/0\.JPEG: stands twice: must stand once"),
    ],
)  # fmt: skip
def test_what_is_no_tar_is_one_line(tmp_path, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message) as error:
        open_source(data("tar", tmp_path / "it"))
    assert "\n" not in str(error.value)


def rewritten(path, change):
    """One shard, its table changed."""
    file = next(parquet_of(path, FILES, shards=1).iterdir())
    pq.write_table(change(pq.read_table(file)), file)
    return file


def two_splits(path):
    file = next(parquet_of(path, FILES, shards=1).iterdir())
    (path / "test-00000-of-00001.parquet").write_bytes(file.read_bytes())


def lost_shard(path):
    (parquet_of(path, FILES) / "train-00001-of-00003.parquet").unlink()


def other_names(path):
    file = parquet_of(path, FILES) / "train-00001-of-00003.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)


def labelled(labels, names=True):
    return lambda path: parquet_of(path, FILES, labels=labels, names=names)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"data\.path: .*it: no such Parquet file: must be"),
        (lambda path: path.mkdir(), r"data\.path: .*it: no such Parquet file: must be"),
        (lambda path: path.write_text("x"), r"data\.path: .*it: not a readable Parquet file \("),
        (lambda path: rewritten(path, lambda table: table.drop("image")), "no column image, but label: must be there"),
        (lambda path: rewritten(path, lambda table: table.drop("label")), "no column label, but image: must be there"),
        (lambda path: rewritten(path, lambda table: table[:0]), r"it: no rows: must hold"),
        (labelled(["x"] * 10), "label is string: must be integers"),
        (labelled([0] * 9 + [None]), "1 rows without a label: must have one each"),
        (labelled([0, 1, 2, 3] + [0] * 6), r"it: train-00001-of-00003\.parquet:0: label 3: must be 0 to 2$"),
        (labelled([0] * 9 + [-1], None), r"it: train-00002-of-00003\.parquet:3: label -1: must be 0 or more$"),
        (labelled([0] * 9 + [2], None), r"it: 1: class without a row: .* \(label 1\)$"),
        (labelled(None, ["a", "b", "c", "d"]), r"it: d: class without a row: .*\(label 3\)$"),
        (labelled(None, ["a", "a", "b"]), "must be a list of different names"),
        (lambda path: parquet_of(path, FILES, image=lambda rows: [3] * 10), r"image is int64: must be binary or"),
        (two_splits, r"it: holds shards of test and train: must be one of them, such as .*it/test-\*\.parquet$"),
        (lost_shard, r"it: 2 shards: must be 3, as their names say"),
        (other_names, r"train-00001-of-00003\.parquet: other class names than in .*train-00000-of-00003\.parquet"),
    ],
)
def test_what_is_no_parquet_is_one_line(tmp_path, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message) as error:
        open_source(data("parquet", tmp_path / "it"))
    assert "\n" not in str(error.value)


def test_rows_without_bytes_are_broken_pictures(tmp_path):
    path = parquet_of(tmp_path / "it", FILES, image=lambda rows: [*rows[:9], {"bytes": None, "path": "x.JPEG"}])
    with pytest.raises(UserError, match=r"it: train-.*: broken picture \(no bytes in the image column\)"):
        list(images(data("parquet", path)))
    assert len(list(images(data("parquet", path, broken="skip")))) == len(FILES) - 1


def test_an_archive_cut_short_after_it_was_listed(tmp_path):
    source = open_source(data("tar", tar_of(tmp_path / "it", FILES)))
    cut(tmp_path / "it", (tmp_path / "it").stat().st_size - source.read.listing.places["members"][-1, 0] - 100)
    assert source.picture(len(source) - 1, 8).broken == "the archive ends before the picture does"


def test_files_are_closed(tmp_path, packed):
    source = open_source(packed["tar"])
    source.read(0)
    handle = source.read.file.handle
    assert sources.os.fstat(handle)
    del source
    with pytest.raises(OSError):
        sources.os.fstat(handle)
