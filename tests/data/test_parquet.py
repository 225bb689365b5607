"""Parquet shards as the hub has them, and what can be wrong with them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.packings import PICTURES, data_of, write_parquet

from mpdit.data.sources import open_source, rgb_images
from mpdit.system.errors import UserError


def test_plain_bytes_and_a_pattern_of_shards_are_read(tmp_path):
    path = write_parquet(tmp_path / "it", image_column=lambda rows: [row["bytes"] for row in rows], class_names=False)
    (path / "test-00000-of-00001.parquet").write_bytes((path / "train-00000-of-00003.parquet").read_bytes())
    source = open_source(data_of("parquet", f"{path}/train-*.parquet"))
    assert source.classes == ["0", "1", "2"] and len(source) == len(PICTURES)
    assert source.read(0) == PICTURES[sorted(PICTURES)[0]]
    assert source.names[0] == "train-00000-of-00003.parquet:0" and source.names[3] == "train-00001-of-00003.parquet:0"
    one = write_parquet(tmp_path / "one", shards=1) / "train-00000-of-00001.parquet"
    assert len(open_source(data_of("parquet", one))) == len(PICTURES)


def test_a_row_group_is_read_once_in_order(tmp_path, monkeypatch):
    source, reads = open_source(data_of("parquet", write_parquet(tmp_path / "it"))), []
    read_row_group = pq.ParquetFile.read_row_group

    def counted(*args, **options):
        reads.append(args)
        return read_row_group(*args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    for index in range(len(source)):
        source.read(index)
    assert len(reads) == sum(pq.ParquetFile(file).num_row_groups for file in source.read.files)


def test_a_row_without_bytes_is_a_broken_picture(tmp_path):
    path = write_parquet(tmp_path / "it", image_column=lambda rows: [*rows[:9], {"bytes": None, "path": "x.JPEG"}])
    data = data_of("parquet", path)
    with pytest.raises(UserError, match=r"it: train-.*: broken picture \(no bytes in the image column\)"):
        list(rgb_images(open_source(data), data))
    data = data_of("parquet", path, broken="skip")
    assert len(list(rgb_images(open_source(data), data))) == len(PICTURES) - 1


# Mistakes


def with_changed_table(change):
    """Write one shard whose table `change` has changed."""

    def make(path):
        (file,) = write_parquet(path, shards=1).iterdir()
        pq.write_table(change(pq.read_table(file)), file)

    return make


def with_labels(labels, class_names=True):
    return lambda path: write_parquet(path, labels=labels, class_names=class_names)


def with_two_splits(path):
    (file,) = write_parquet(path, shards=1).iterdir()
    (path / "test-00000-of-00001.parquet").write_bytes(file.read_bytes())


def without_one_shard(path):
    (write_parquet(path) / "train-00001-of-00003.parquet").unlink()


def with_class_names_in_some_shards(path):
    file = write_parquet(path) / "train-00001-of-00003.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)


def with_huge_labels(table):
    return table.set_column(1, "label", pa.array(np.full(len(table), 2**64 - 1, np.uint64)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"data\.path: .*it: no Parquet file found; expected"),
        (lambda path: path.mkdir(), r"data\.path: .*it: no Parquet file found; expected"),
        (lambda path: path.write_text("x"), r"data\.path: .*it: not a readable Parquet file \("),
        (with_changed_table(lambda table: table.drop("image")), "no column image; found only label"),
        (with_changed_table(lambda table: table.drop("label")), "no column label; found only image"),
        (with_changed_table(lambda table: table[:0]), r"it: no rows; expected"),
        (with_labels(["x"] * 10), "column label is of type string; expected integers"),
        (with_labels([0] * 9 + [None]), "1 rows have no label"),
        (with_labels([0, 1, 2, 3] + [0] * 6), r"it: train-00001-of-00003\.parquet:0: label 3 .* expected 0 to 2$"),
        (with_labels([0] * 9 + [-1], False), r"it: train-00002-of-00003\.parquet:3: label -1 .* expected 0 to 9: "),
        (with_labels([10**9] * 10, False), r"it: train-00000-of-00003\.parquet:0: label 1000000000 is out of range"),
        (with_labels([0] * 9 + [10**12], False), r"it: train-00002-.*:3: label 1000000000000 is out of range"),
        (with_changed_table(with_huge_labels), r"not a readable Parquet file \(Integer value 18446744073709551615"),
        (with_labels([0] * 9 + [2], False), r"it: class 1 \(label 1\) has no row"),
        (with_labels(None, ["a", "b", "c", "d"]), r"it: class d \(label 3\) has no row"),
        (with_labels(None, ["a", "a", "b"]), "must be a list of different names"),
        (lambda path: write_parquet(path, image_column=lambda rows: [3] * 10), "column image is of type int64"),
        (with_two_splits, r"it: holds the splits test and train; choose one of them by .*it/test-\*\.parquet$"),
        (without_one_shard, r"it: found 2 shards; their names promise 3"),
        (with_class_names_in_some_shards, r"train-00001-of.*: class names differ from those in .*train-00000-of"),
    ],
)
def test_wrong_parquet_files_are_one_line(tmp_path, make, message):
    make(tmp_path / "it")
    with pytest.raises(UserError, match=message) as error:
        open_source(data_of("parquet", tmp_path / "it"))
    assert "\n" not in str(error.value)
