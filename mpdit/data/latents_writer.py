"""The writing half of the latent store: arrays that grow on disk.

Free of torch, so that encoding pixels takes no longer than the pictures do.
"""

import errno
import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..system import files
from ..system.errors import UserError

READ = 2**22  # bytes of a block of rows that is read back


class ArrayWriter:
    """A .npy file written row by row, in constant memory, as `.NAME.part` until `commit` moves it to NAME.

    Plain writes, not a memory map: on a full disk a write raises OSError, where a map kills the process.
    A part that a killed process has left is written over. `digest` hashes dtype, shape of a row and the data.
    """

    def __init__(self, path: str | Path, dtype, row_shape: Sequence[int]):
        self.path, self.part = Path(path), Path(path).with_name(f".{Path(path).name}.part")
        self.dtype, self.row_shape, self.count = np.dtype(dtype), tuple(row_shape), 0
        self._hash = _hash_of_rows(self.dtype, self.row_shape)
        self._file = open(self.part, "wb")  # noqa: SIM115 (closed by commit or discard)
        self._write_header()

    def _write_header(self) -> None:
        # numpy pads headers so that the first axis can grow: this one can be written again with the final count
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, *self.row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, rows: np.ndarray) -> None:
        """Write `rows`, (B, *row_shape), cast to the writer's dtype already."""
        if rows.dtype != self.dtype or rows.shape[1:] != self.row_shape:
            raise ValueError(
                f"{self.path.name}: rows are {rows.dtype} {rows.shape[1:]}, not {self.dtype} {self.row_shape}"
            )
        data = np.ascontiguousarray(rows).data.cast("B")
        self._hash.update(data)
        self._file.write(data)
        self.count += len(rows)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Write the final header, flush to disk and close; the file keeps its temporary name."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def commit(self) -> None:
        """Move the finished file into place."""
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Close and remove what is not committed."""
        with suppress(OSError):  # a full disk refuses the last flush too
            self._file.close()
        self.part.unlink(missing_ok=True)


def _hash_of_rows(dtype: np.dtype, row_shape: tuple[int, ...]):
    return hashlib.sha256(f"{dtype.str} {row_shape}".encode())


def read_rows(path: Path, description: Mapping) -> Iterator[np.ndarray]:
    """The rows of a .npy that `ArrayWriter` has written, a block (B, *row_shape) at a time, in order.

    Plain reads: a memory map would count as memory in use. `description` is what the writer's manifest says of it.
    UserError, after the last block at the latest, unless the rows are those that were written.
    """
    dtype, row_shape = np.dtype(description["dtype"]), tuple(description["shape"])
    found = _hash_of_rows(dtype, row_shape)
    row = dtype.itemsize * math.prod(row_shape)
    damaged = UserError(f"{path}: damaged: must be as it was written; delete {path.parent} and run again")
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            while data := file.read(max(1, READ // row) * row):
                if len(data) % row:
                    raise damaged
                found.update(data)
                yield np.frombuffer(data, dtype).reshape(-1, *row_shape)
    except (FileNotFoundError, ValueError) as error:
        raise damaged from error
    if found.hexdigest() != description["digest"]:
        raise damaged


class StoreWriter:
    """A latent store in the making: a context that leaves either a whole store or what was there before.

    `append` takes the arrays by name; `commit` moves them into place, then writes the manifest. `capacity`, the
    rows that are expected, is what a full disk is measured against in the error. Parts of a killed run are removed.
    """

    def __init__(self, folder: str | Path, capacity: int):
        self.folder, self.capacity = Path(folder), capacity
        self.arrays: dict[str, ArrayWriter] = {}

    def __enter__(self) -> "StoreWriter":
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in self.folder.glob(".*.npy.part"):
            part.unlink()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        for array in self.arrays.values():
            array.discard()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            row = sum(array.dtype.itemsize * math.prod(array.row_shape) for array in self.arrays.values())
            raise UserError(
                f"{self.folder}: no space left on device: must have room for {row * self.capacity / 1e6:,.1f} MB"
            ) from None

    def append(self, **arrays: np.ndarray) -> None:
        for name, rows in arrays.items():
            if name not in self.arrays:
                self.arrays[name] = ArrayWriter(self.folder / f"{name}.npy", rows.dtype, rows.shape[1:])
            self.arrays[name].append(rows)

    @property
    def description(self) -> dict[str, dict]:
        """What a manifest says of each array: dtype, shape of a row, digest of all rows so far."""
        return {
            name: {"dtype": str(array.dtype), "shape": list(array.row_shape), "digest": array.digest}
            for name, array in self.arrays.items()
        }

    def commit(self, manifest: Mapping) -> None:
        for array in self.arrays.values():
            array.finish()
        # From here to the new manifest there is none: arrays of two stores are never taken for one.
        (self.folder / "manifest.json").unlink(missing_ok=True)
        (self.folder / "std.npy").unlink(missing_ok=True)  # the one that the new store may do without
        for array in self.arrays.values():
            array.commit()
        files.sync_folder(self.folder)
        files.write_json(self.folder / "manifest.json", manifest)
