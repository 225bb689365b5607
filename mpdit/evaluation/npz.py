"""Arrays of .npz files, read without ever unpickling."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..system.errors import UserError


def read_npz(path: str | Path, only: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Every array of an .npz file, or those named in `only` that the file has.

    Raises UserError if the file is missing, is damaged, or is not an .npz file of plain arrays.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if only is None else only) if name in arrays}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except MemoryError:
        raise UserError(f"{path}: needs more memory than there is, or is damaged and must be written again") from None
    except Exception:  # numpy and zipfile raise nearly anything on damaged content
        raise UserError(f"{path}: damaged, or not an .npz file of arrays: it must be written again") from None
