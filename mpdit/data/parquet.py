"""Pictures in Parquet shards, as on the hub: rows of `image`, the file's bytes (or {bytes, path}), and `label`.

`data.path` is a file, a folder of shards, or a pattern such as `imagenet-1k/data/train-*.parquet`; shards are taken in
the order of their names, rows in the order they stand in: the hub's are shuffled, and in any other order each row group
would be read many times. The label column is taken as it is, and its numbers are ImageNet's own; classes are named by
the `huggingface` metadata (its ClassLabel), or by their numbers where there is none.

Listing reads labels alone. Reading keeps one row group in memory; the hub's hold 100 pictures.
"""

import glob
import json
import os
import re

import numpy as np

from ..system.errors import UserError
from .archives import Damaged, Listing, Names

SHARD = re.compile(r"(?P<split>.+)-\d{5}-of-(?P<count>\d{5})(-[0-9a-f]+)?\.parquet")  # as the hub names them


class ParquetReader:
    def __init__(self, path: str, listing: Listing):
        self.listing, self.files = listing, shards(path)
        self._forget()

    def _forget(self) -> None:
        self.process, self.shard, self.opened, self.group, self.rows = None, None, None, None, None

    def __getstate__(self) -> dict:
        return {"listing": self.listing, "files": self.files}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    def __call__(self, index: int) -> bytes:
        import pyarrow.parquet

        if self.process != os.getpid():
            self._forget()
            self.process = os.getpid()
        starts, shard_of = self.listing.places["starts"], self.listing.places["shard"]
        group = int(np.searchsorted(starts, index, side="right")) - 1  # over all shards
        shard = int(shard_of[group])
        within = group - int(np.searchsorted(shard_of, shard))
        try:
            if shard != self.shard:
                self.opened, self.shard = pyarrow.parquet.ParquetFile(self.files[shard]), shard
            if group != self.group:
                self.rows, self.group = None, None  # before the next is read: never two at once
                self.rows = _bytes_column(self.opened, within, self.files[shard])
                self.group = group
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"{self.files[shard]}: row group {within}: can't be read ({_line(error)})") from None
        stored = self.rows[index - int(starts[group])].as_py()
        if stored is None:
            raise Damaged("no bytes in the image column")
        return stored


def shards(path: str) -> list[str]:
    """The files that `data.path` means, in order. UserError where there are none, or those of two splits."""
    if os.path.isdir(path):
        files = sorted(glob.glob(os.path.join(glob.escape(path), "*.parquet")))
    else:
        files = [path] if os.path.isfile(path) else sorted(glob.glob(path))
    if not files:
        raise UserError(f"data.path: {path}: no such Parquet file: must be a file, a folder or a pattern of *.parquet")
    named = [match for file in files if (match := SHARD.fullmatch(os.path.basename(file)))]
    splits = sorted({match["split"] for match in named})
    if len(splits) > 1:
        raise UserError(
            f"data.path: {path}: holds shards of {' and '.join(splits)}: must be one of them, such as "
            f"{os.path.join(os.path.dirname(files[0]), splits[0])}-*.parquet"
        )
    if os.path.isdir(path) and named and len(files) != int(named[0]["count"]):
        raise UserError(
            f"data.path: {path}: {len(files)} shards: must be {int(named[0]['count'])}, as their names say; "
            "a pattern (*.parquet) takes those that are there"
        )
    return files


def list_parquet(path: str, labelled: bool) -> Listing:
    import pyarrow.parquet

    files, labels, starts, shard_of, names, count = shards(path), [], [], [], None, 0
    for shard, file in enumerate(files):
        try:
            opened = pyarrow.parquet.ParquetFile(file)
            _leaf(opened, file)
            if labelled:
                column, named = _labels(opened, file), _class_names(opened, file)
            else:
                column, named = np.zeros(opened.metadata.num_rows, dtype=np.int64), ["any"]
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(f"data.path: {file}: not a readable Parquet file ({_line(error)})") from None
        if shard == 0:
            names = named
        elif named != names:
            raise UserError(f"{file}: other class names than in {files[0]}: must be shards of one data set")
        for group in range(opened.num_row_groups):
            starts.append(count)
            shard_of.append(shard)
            count += opened.metadata.row_group(group).num_rows
        labels.append(column)
    counts = [len(column) for column in labels]
    labels = np.concatenate(labels)
    if not count:
        raise UserError(f"{path}: no rows: must hold at least one picture")
    classes = names or [str(label) for label in range(int(labels.max()) + 1)]
    ends = np.cumsum(counts)

    def row(index: int) -> str:
        shard = int(np.searchsorted(ends, index, side="right"))
        return f"{os.path.basename(files[shard])}:{index - ends[shard] + counts[shard]}"

    wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(wrong):
        first = int(wrong[0])
        most = f"to {len(classes) - 1}" if names else "or more"
        raise UserError(f"{path}: {row(first)}: label {labels[first]}: must be 0 {most}")
    absent = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(absent):
        raise UserError(
            f"{path}: {classes[absent[0]]}: class without a row: must have at least one (label {absent[0]})"
        )
    places = {"starts": np.array(starts), "shard": np.array(shard_of)}
    return Listing(classes, Names.pack(map(row, range(count))), labels, places)


def _labels(opened, file: str) -> np.ndarray:
    """The label column, int64."""
    import pyarrow

    kind = _field(opened, file, "label")
    if not pyarrow.types.is_integer(kind):
        raise UserError(f"{file}: label is {kind}: must be integers")
    column = opened.read(columns=["label"], use_threads=False)["label"]
    if column.null_count:
        raise UserError(f"{file}: {column.null_count} rows without a label: must have one each")
    return column.to_numpy().astype(np.int64)


def _field(opened, file: str, column: str):
    """The type of a column."""
    schema = opened.schema_arrow
    if column not in schema.names:
        raise UserError(f"{file}: no column {column}, but {', '.join(schema.names)}: must be there")
    return schema.field(column).type


def _leaf(opened, file: str) -> str:
    """The column that holds the pictures' bytes."""
    import pyarrow.types as types

    kind = _field(opened, file, "image")
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "image"
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        inner = kind.field("bytes").type
        if types.is_binary(inner) or types.is_large_binary(inner):
            return "image.bytes"
    raise UserError(f"{file}: image is {kind}: must be binary or a struct with binary `bytes`")


def _bytes_column(opened, group: int, file: str):
    import pyarrow.compute

    leaf = _leaf(opened, file)
    column = opened.read_row_group(group, columns=[leaf], use_threads=False)["image"]
    return pyarrow.compute.struct_field(column, "bytes") if leaf == "image.bytes" else column


def _class_names(opened, file: str) -> list[str] | None:
    """From the metadata that the `datasets` library writes: {"info": {"features": {"label": {"names": [...]}}}}."""
    stored = (opened.schema_arrow.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    try:
        names = json.loads(stored)["info"]["features"]["label"].get("names")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{file}: its `huggingface` metadata can't be understood: must describe the label") from None
    if names is not None and (not isinstance(names, list) or len(set(names)) != len(names)):
        raise UserError(f"{file}: class names in its metadata: must be a list of different names")
    return names


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
