"""Writing a latents folder: arrays that grow on disk, moved into place together.

Free of torch, so that encoding pixels takes no longer than decoding them.
"""

import errno
import hashlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import DTypeLike

from ..experiment.records import JsonRecord
from ..experiment.run_files import MANIFEST, STD
from ..system import files
from ..system.errors import UserError
from ..system.seals import ArraySeal

FORMAT_VERSION = 1  # of latents folders and of shards
READ_BYTES = 2**22  # of rows that are read back at once


@dataclass(frozen=True)
class ArrayRecord(JsonRecord):
    """What is recorded of an array while it is written."""

    dtype: str
    shape: tuple[int, ...]  # of a row
    digest: str  # SHA-256 over dtype, row shape and data


class ArrayWriter:
    """A .npy file that is written row by row in constant memory, as `.NAME.part` until `commit` moves it to NAME.

    Plain writes instead of a memory map: on a full disk a write raises OSError, where a map kills the process. What a
    killed process has left is overwritten. `digest` hashes dtype, row shape and data.
    """

    def __init__(self, path: str | Path, dtype: DTypeLike, row_shape: Sequence[int]):
        self.path, self.part = Path(path), Path(path).with_name(f".{Path(path).name}.part")
        self.dtype, self.row_shape, self.count = np.dtype(dtype), tuple(row_shape), 0
        self._hash, self._seal = _hash_of_rows(self.dtype, self.row_shape), ArraySeal()
        self._file = open(self.part, "wb")  # noqa: SIM115 (closed by finish or discard)
        self._write_header()

    def _write_header(self) -> bytes:
        # numpy pads headers so that the first axis can grow: this one can be rewritten with the final count.
        fields = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, *self.row_shape)}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, fields)
        self._file.write(header.getvalue())
        return header.getvalue()

    def append(self, rows: np.ndarray) -> None:
        """Write `rows` (B, *row_shape), which must have the writer's dtype."""
        if rows.dtype != self.dtype or rows.shape[1:] != self.row_shape:
            raise ValueError(
                f"{self.path.name}: rows are {rows.dtype} {rows.shape[1:]}, not {self.dtype} {self.row_shape}"
            )
        data = np.ascontiguousarray(rows).data.cast("B")
        self._hash.update(data)
        self._seal.update(data)
        self._file.write(data)
        self.count += len(rows)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def finish(self) -> str:
        """Write the final header, flush to disk and close; the file keeps its temporary name. Returns its seal."""
        self._file.seek(0)
        header = self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._seal.finish(header)

    def commit(self) -> None:
        """Move the finished file into place."""
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Close the file, and remove it unless it is committed."""
        with suppress(OSError):  # a full disk refuses the last flush too
            self._file.close()
        self.part.unlink(missing_ok=True)


def _hash_of_rows(dtype: np.dtype, row_shape: tuple[int, ...]) -> "hashlib._Hash":
    return hashlib.sha256(f"{dtype.str} {row_shape}".encode())


def read_rows(path: Path, record: ArrayRecord) -> Iterator[np.ndarray]:
    """The rows of a .npy that `ArrayWriter` wrote, in order, a block (B, *row_shape) at a time.

    Plain reads, because a memory map would count as memory in use. `record` is what the writer recorded of the
    array. Raises UserError, after the last block at the latest, unless the rows are unchanged.
    """
    dtype, row_shape = np.dtype(record.dtype), record.shape
    digest = _hash_of_rows(dtype, row_shape)
    row_bytes = dtype.itemsize * math.prod(row_shape)
    damaged = UserError(f"{path}: damaged; delete {path.parent} and run again")
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            while data := file.read(max(1, READ_BYTES // row_bytes) * row_bytes):
                if len(data) % row_bytes:
                    raise damaged
                digest.update(data)
                yield np.frombuffer(data, dtype).reshape(-1, *row_shape)
    except (FileNotFoundError, ValueError) as error:
        raise damaged from error
    if digest.hexdigest() != record.digest:
        raise damaged


class LatentsWriter:
    """A context in which a latents folder is written; it leaves either the whole folder or what was there before.

    `append` takes rows by the names of their arrays; `commit` moves the arrays into place and then writes the manifest,
    with the arrays' seals.
    Entering removes what a killed process has left. A full disk raises UserError, which states the space needed for
    `capacity` rows.
    """

    def __init__(self, folder: str | Path, capacity: int):
        self.folder, self.capacity = Path(folder), capacity
        self.arrays: dict[str, ArrayWriter] = {}

    def __enter__(self) -> "LatentsWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in self.folder.glob(".*.npy.part"):
            part.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for array in self.arrays.values():
            array.discard()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            row_bytes = sum(array.dtype.itemsize * math.prod(array.row_shape) for array in self.arrays.values())
            raise UserError(
                f"{self.folder}: no space left on device; {row_bytes * self.capacity / 1e6:,.1f} MB are needed"
            ) from None

    def append(self, **arrays: np.ndarray) -> None:
        for name, rows in arrays.items():
            if name not in self.arrays:
                self.arrays[name] = ArrayWriter(self.folder / f"{name}.npy", rows.dtype, rows.shape[1:])
            self.arrays[name].append(rows)

    @property
    def records(self) -> dict[str, ArrayRecord]:
        """The records of the arrays, with the digests of all rows so far."""
        return {
            name: ArrayRecord(str(array.dtype), array.row_shape, array.digest) for name, array in self.arrays.items()
        }

    def commit(self, manifest: JsonRecord) -> None:
        seals = {array.path.name: array.finish() for array in self.arrays.values()}
        # From here until the new manifest is written there is none, so that arrays of two data sets never pass for one.
        (self.folder / MANIFEST).unlink(missing_ok=True)
        (self.folder / STD).unlink(missing_ok=True)  # the only array that the new data may lack
        for array in self.arrays.values():
            array.commit()
        files.sync_folder(self.folder)
        files.write_json(self.folder / MANIFEST, {**manifest.to_json(), "seals": seals})
