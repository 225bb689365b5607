"""Pictures in Parquet shards, as on the hub: rows of `image`, the file's bytes (or {bytes, path}), and `label`.

`data.path` is a file, a folder of shards, or a pattern such as `imagenet-1k/data/train-*.parquet`. Shards are taken in
the order of their names and rows in the order they are stored in: the hub's are shuffled, and in any other order each
row group would be read many times. Labels are taken as they are, so ImageNet keeps its own numbers; classes are named
by the `huggingface` metadata (its ClassLabel), or by their numbers where there is none.

Listing reads only the labels. Reading keeps one row group in memory; the hub's hold 100 pictures.
"""

import glob
import json
import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..system.errors import UserError, reason
from .folders import check_link
from .listing import DamagedPicture, PackedStrings, PictureListing, check_size

SHARD_NAME = re.compile(r"(?P<split>.+)-\d{5}-of-(?P<count>\d{5})(-[0-9a-f]+)?\.parquet")  # as the hub names them
ParquetFile = Any  # pyarrow has no annotations
ArrowType = Any


class ParquetReader:
    """Reads a row's picture from the row group that holds it, which stays in memory until another one is needed."""

    def __init__(self, path: str, listing: PictureListing):
        self.listing, self.files = listing, shard_files(path)
        self._close()

    def _close(self) -> None:
        self.process: int | None = None  # which opened `opened`
        self.shard: int | None = None  # whose file `opened` is
        self.opened: ParquetFile = None
        self.group: int | None = None  # whose pictures `rows` are, counted over all shards
        self.rows: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"listing": self.listing, "files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._close()

    def __call__(self, index: int) -> bytes:
        import pyarrow.parquet

        if self.process != os.getpid():
            self._close()
            self.process = os.getpid()
        starts, shard_of_group = self.listing.locations["starts"], self.listing.locations["shard"]
        group = int(np.searchsorted(starts, index, side="right")) - 1
        shard = int(shard_of_group[group])
        group_in_shard = group - int(np.searchsorted(shard_of_group, shard))
        try:
            if shard != self.shard:
                self.opened, self.shard = pyarrow.parquet.ParquetFile(self.files[shard]), shard
            if group != self.group:
                self.rows, self.group = None, None  # before the next one is read: never two in memory
                self.rows = _read_picture_bytes(self.opened, group_in_shard, self.files[shard])
                self.group = group
        except UserError:
            raise
        except Exception as error:  # pyarrow raises nearly anything on damaged pages
            raise UserError(
                f"{self.files[shard]}: row group {group_in_shard} cannot be read ({reason(error)})"
            ) from None
        stored = self.rows[index - int(starts[group])].as_py()
        if stored is None:
            raise DamagedPicture("no bytes in the image column")
        check_size(len(stored))
        return bytes(stored)


def shard_files(path: str) -> list[str]:
    """The files that `data.path` stands for, in order.

    Raises UserError where there are none, where they belong to two splits, or where a folder lacks some of them.
    """
    if os.path.isdir(path):
        files = sorted(glob.glob(os.path.join(glob.escape(path), "*.parquet")))
    else:
        files = [path] if os.path.isfile(path) else sorted(glob.glob(path))
    for file in files:
        if os.path.exists(file) and not os.path.isfile(file):
            raise UserError(f"data.path: {file}: not a regular file; expected a Parquet file")
    if not files:
        raise UserError(f"data.path: {path}: no Parquet file found; expected a file, a folder or a pattern *.parquet")
    named = [match for file in files if (match := SHARD_NAME.fullmatch(os.path.basename(file)))]
    splits = sorted({match["split"] for match in named})
    if len(splits) > 1:
        pattern = f"{os.path.join(os.path.dirname(files[0]), splits[0])}-*.parquet"
        raise UserError(f"data.path: {path}: holds the splits {' and '.join(splits)}; choose one of them by {pattern}")
    if os.path.isdir(path) and named and len(files) != int(named[0]["count"]):
        raise UserError(
            f"data.path: {path}: found {len(files)} shards; their names promise {int(named[0]['count'])} "
            "(a pattern, *.parquet, accepts those that are there)"
        )
    return files


def list_parquet(path: str, labeled: bool, follow_links: bool) -> PictureListing:
    """The listing of Parquet shards; without `labeled` all pictures belong to one class, and no label is read.

    Raises UserError for files that are not such shards, and for labels that are missing or out of range.
    """
    import pyarrow.parquet

    files = shard_files(path)
    if os.path.isdir(path):  # a file or a pattern, in contrast, names its files
        for file in files:
            if os.path.islink(file):
                check_link(path, os.path.basename(file), follow_links)
    labels_by_shard: list[NDArray[np.int64]] = []
    starts: list[int] = []  # first row of each row group, counted over all shards
    shard_of_group: list[int] = []
    class_names: list[str] | None = None
    count = 0
    for shard, file in enumerate(files):
        try:
            opened = pyarrow.parquet.ParquetFile(file)
            _picture_column(opened, file)
            if labeled:
                labels, names = _labels(opened, file), _class_names(opened, file)
            else:
                labels, names = np.zeros(opened.metadata.num_rows, dtype=np.int64), ["any"]
        except UserError:
            raise
        except Exception as error:  # pyarrow raises nearly anything on damaged metadata
            raise UserError(f"data.path: {file}: not a readable Parquet file ({reason(error)})") from None
        if shard == 0:
            class_names = names
        elif names != class_names:
            raise UserError(f"{file}: class names differ from those in {files[0]}; shards must be of one data set")
        rows = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
        if sum(rows) != len(labels):
            raise UserError(f"{file}: damaged: its row groups have {sum(rows):,} rows, its labels {len(labels):,}")
        for in_group in rows:
            starts.append(count)
            shard_of_group.append(shard)
            count += in_group
        labels_by_shard.append(labels)
    if not count:
        raise UserError(f"{path}: no rows; expected at least one picture")
    all_labels = np.concatenate(labels_by_shard)
    counts = [len(labels) for labels in labels_by_shard]
    ends = np.cumsum(counts)

    def row_name(index: int) -> str:
        shard = int(np.searchsorted(ends, index, side="right"))
        return f"{os.path.basename(files[shard])}:{index - ends[shard] + counts[shard]}"

    # Without names there are as many classes as the labels say, which may be any number; but none of them is empty.
    most = len(class_names) if class_names else count
    outside = np.flatnonzero((all_labels < 0) | (all_labels >= most))
    if len(outside):
        first = int(outside[0])
        why = "" if class_names else f": each of the classes 0, 1, 2, ... needs at least one of the {count:,} rows"
        raise UserError(
            f"{path}: {row_name(first)}: label {all_labels[first]} is out of range; expected 0 to {most - 1}{why}"
        )
    classes = class_names or [str(label) for label in range(int(all_labels.max()) + 1)]
    empty = np.flatnonzero(np.bincount(all_labels, minlength=len(classes)) == 0)
    if len(empty):
        raise UserError(
            f"{path}: class {classes[empty[0]]} (label {empty[0]}) has no row; every class needs at least one"
        )
    locations = {"starts": np.array(starts), "shard": np.array(shard_of_group)}
    return PictureListing(classes, PackedStrings.pack(map(row_name, range(count))), all_labels, locations)


def _labels(opened: ParquetFile, file: str) -> NDArray[np.int64]:
    """The label column. Raises UserError where it is not of integers, or has empty rows."""
    import pyarrow

    dtype = _column_type(opened, file, "label")
    if not pyarrow.types.is_integer(dtype):
        raise UserError(f"{file}: column label is of type {dtype}; expected integers")
    column = opened.read(columns=["label"], use_threads=False)["label"]
    if column.null_count:
        raise UserError(f"{file}: {column.null_count} rows have no label; every row needs one")
    return column.cast(pyarrow.int64()).to_numpy()  # raises for what 64 bits cannot hold


def _column_type(opened: ParquetFile, file: str, column: str) -> ArrowType:
    schema = opened.schema_arrow
    if column not in schema.names:
        raise UserError(f"{file}: no column {column}; found only {', '.join(schema.names)}")
    return schema.field(column).type


def _picture_column(opened: ParquetFile, file: str) -> str:
    """The dotted name of the column that holds the pictures' bytes."""
    import pyarrow.types as types

    dtype = _column_type(opened, file, "image")
    if types.is_binary(dtype) or types.is_large_binary(dtype):
        return "image"
    if types.is_struct(dtype) and dtype.get_field_index("bytes") >= 0:
        inner = dtype.field("bytes").type
        if types.is_binary(inner) or types.is_large_binary(inner):
            return "image.bytes"
    raise UserError(f"{file}: column image is of type {dtype}; expected binary, or a struct with binary `bytes`")


def _read_picture_bytes(opened: ParquetFile, group: int, file: str) -> Any:
    """The bytes of all pictures of a row group, as an Arrow array."""
    import pyarrow.compute

    name = _picture_column(opened, file)
    column = opened.read_row_group(group, columns=[name], use_threads=False)["image"]
    return pyarrow.compute.struct_field(column, "bytes") if name == "image.bytes" else column


def _class_names(opened: ParquetFile, file: str) -> list[str] | None:
    """From the metadata that the `datasets` library writes: {"info": {"features": {"label": {"names": [...]}}}}."""
    stored = (opened.schema_arrow.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    try:
        names = json.loads(stored)["info"]["features"]["label"].get("names")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: its `huggingface` metadata does not describe the column label") from None
    if names is None:
        return None
    if not isinstance(names, list) or len(set(map(str, names))) != len(names) or "\n" in "".join(map(str, names)):
        raise UserError(f"{file}: the class names in its metadata must be a list of different names of one line")
    return names
