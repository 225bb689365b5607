"""Feature statistics that other tools computed: reference batches of the ADM evaluator, caches of torch-fidelity."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..system.errors import UserError
from .npz import read_npz


def read_statistics(path: str | Path, dimension: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean `mu` (D,) and covariance `sigma` (D, D), float64, of a file of precomputed statistics.

    The file is an .npz with arrays of these names, such as a reference batch of the ADM evaluator (whose images are not
    read), or a .pt of the two as torch-fidelity caches it, from which nothing but arrays is unpickled.

    Raises UserError if either is missing, not finite, or not of D = `dimension` features, and if sigma is not symmetric
    or has a negative variance.
    """
    arrays = read_npz(path, only=("mu", "sigma")) if Path(path).suffix == ".npz" else _read_pt(path)
    for name, shape in (("mu", (dimension,)), ("sigma", (dimension, dimension))):
        if name not in arrays:
            raise UserError(f"{path}: no array {name!r}: must be precomputed statistics, mu and sigma")
        array = arrays[name]
        if array.dtype.kind != "f" or array.shape != shape:
            raise UserError(f"{path}: {name} is {array.dtype} {array.shape}: must be floats {shape} for these features")
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {name} has values that are not finite")
    mu, sigma = (arrays[name].astype(np.float64) for name in ("mu", "sigma"))
    if not np.allclose(sigma, sigma.T, rtol=1e-4, atol=1e-6 * np.abs(sigma).max()) or (np.diag(sigma) < 0).any():
        raise UserError(f"{path}: sigma is not a covariance: must be symmetric, without negative variances")
    return mu, sigma


def _read_pt(path: str | Path) -> dict[str, NDArray[Any]]:
    rebuild = np.empty(0).__reduce__()[0]  # what a pickled array names; numpy 1 had it in another module
    arrays: list[Any] = [rebuild, (rebuild, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    dtypes = [type(np.dtype(name)) for name in ("float32", "float64")]
    try:
        with torch.serialization.safe_globals([*arrays, *dtypes]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except MemoryError:
        raise
    except Exception:  # the unpickler raises nearly anything on content that it does not know
        content = None
    if not isinstance(content, dict) or not all(
        isinstance(value, np.ndarray | torch.Tensor) for value in content.values()
    ):
        raise UserError(f"{path}: not a file of arrays: must be torch-fidelity's statistics, mu and sigma")
    return {name: np.asarray(value) for name, value in content.items()}
