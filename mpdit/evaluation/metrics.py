"""Features -> statistics -> distance: the Fréchet distance (FID) and the kernel distance (KID), on torch-fidelity.

Features come from `features`. Importing this module loads neither torch nor torch-fidelity.
"""

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ..data.moments import Moments, row_moments
from ..system.errors import UserError
from ..system.files import file_hash, replacing

KID_SUBSETS = 50
KID_SUBSET_SIZE = 1000
KID_FEATURES = 10_000  # rows of real features that a reference keeps for KID: 51 MB at 1280 dimensions, 82 MB at 2048


# ---------------------------------------------------------------------------------------------------------------------
# Statistics


class Reservoir:
    """A uniform sample without replacement of a stream of rows (Algorithm R, Vitter 1985), held in memory."""

    def __init__(self, size: int, rng: np.random.Generator):
        self.size, self.rng = size, rng
        self.rows: list[np.ndarray] = []
        self.seen = 0

    def add(self, rows: np.ndarray) -> None:
        """Take in rows (N, D). What is kept at the end does not depend on how the stream is cut into batches."""
        for row in rows:
            self.seen += 1
            if len(self.rows) < self.size:
                self.rows.append(row.copy())
            elif (slot := int(self.rng.integers(self.seen))) < self.size:
                self.rows[slot] = row.copy()

    def shuffled(self) -> np.ndarray:
        """The kept rows (min(size, seen), D) in random order: each of its heads is a uniform sample as well."""
        return np.stack([self.rows[i] for i in self.rng.permutation(len(self.rows))])


# ---------------------------------------------------------------------------------------------------------------------
# Distances


def frechet_distance(mean_1: np.ndarray, cov_1: np.ndarray, mean_2: np.ndarray, cov_2: np.ndarray) -> float:
    """Fréchet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al., arXiv 1706.08500).

    Means (D,) and covariances (D, D), float64; singular covariances are fine. torch-fidelity's own: the trace of the
    root from the eigenvalues of the product.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    statistics = {"mu": mean_1, "sigma": cov_1}, {"mu": mean_2, "sigma": cov_2}
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def kernel_distance(features_1: np.ndarray, features_2: np.ndarray, seed: int) -> tuple[float, float]:
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3 (KID; Bińkowski et al., arXiv 1801.01401): mean and sd.

    Features (N, D) and (M, D) float32, at least 2 rows each. The mean is over 50 pairs of random subsets of 1,000 rows,
    or of all the rows of the smaller set where that has fewer. The sd is the one over subsets: it says how much the
    choice of subsets moves the value, not how much new samples would. torch-fidelity's own.
    """
    import torch
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    metric = kid_features_to_metric(
        torch.from_numpy(features_1),
        torch.from_numpy(features_2),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(features_1), len(features_2)),
        rng_seed=seed,
        verbose=False,
    )
    return metric[KEY_METRIC_KID_MEAN], metric[KEY_METRIC_KID_STD]


# ---------------------------------------------------------------------------------------------------------------------
# Reference: what samples are compared with


@dataclass(frozen=True)
class Reference:
    """Statistics of the features of real images, and the distance of real images from real images (the floor).

    Of precomputed statistics there are `mu` and `sigma` alone: no rows, and NaN for the counts and the floor.
    """

    name: str  # of the data set, or of the file
    hash: str  # of its images, in order, and of the features' hash; or of the file
    features: str  # a key of metric_names.FEATURES
    features_hash: str  # of the network's weights and of how images are prepared for it
    count: int | float  # real images; NaN: unknown
    mu: np.ndarray  # (D,) float64, over all of them
    sigma: np.ndarray  # (D, D) float64
    rows: np.ndarray  # (min(count, KID_FEATURES), D) float32: features drawn at random, for KID
    fid_floor: float
    kid_floor: float
    floor_count: int | float

    @classmethod
    def precomputed(cls, path: str | Path, features: str, features_hash: str, dimension: int) -> "Reference":
        """A reference from somebody's statistics file, whose word it is that they are of these features."""
        mu, sigma = read_statistics(path, dimension)
        content, rows, unknown = file_hash(path), np.zeros((0, dimension), np.float32), float("nan")
        return cls(Path(path).name, content, features, features_hash, unknown, mu, sigma, rows, *[unknown] * 3)

    def save(self, path: str | Path) -> None:
        """Write an .npz: `mu` and `sigma` under the names that torch-fidelity and the ADM evaluator use."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Reference":
        """Read what `save` wrote. UserError when the file is missing or is something else."""
        arrays = read_npz(path)
        missing = [field.name for field in fields(cls) if field.name not in arrays]
        if missing:
            raise UserError(f"{path}: no {', '.join(missing)} in it: must be a file that `mpdit reference` wrote")
        values = {field.name: arrays[field.name] for field in fields(cls)}
        return cls(**{name: value if value.ndim else value.item() for name, value in values.items()})


def read_npz(path: str | Path, only: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Every array of an .npz file (or those of `only` that it has), never unpickling. UserError when it is no such."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if only is None else only) if name in arrays}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path}: not an .npz file of arrays, or damaged: must be written anew") from None


def read_statistics(path: str | Path, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """`mu` (D,) and `sigma` (D, D) of a file of precomputed statistics, as float64.

    Either an .npz with these names, as the ADM evaluator's reference batches are (their images are not read), or what
    torch-fidelity caches, a .pt of the two, of which nothing but arrays is unpickled. UserError unless both are there,
    finite, of D = `dimension` features, and sigma is symmetric with no negative variance.
    """
    arrays = read_npz(path, only=("mu", "sigma")) if Path(path).suffix == ".npz" else _read_pt(path)
    for name, shape in (("mu", (dimension,)), ("sigma", (dimension, dimension))):
        if name not in arrays:
            raise UserError(f"{path}: no {name} in it: must be statistics, mu and sigma")
        array = arrays[name]
        if array.dtype.kind != "f" or array.shape != shape:
            raise UserError(f"{path}: {name} is {array.dtype} {array.shape}: must be floats {shape} for these features")
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {name} is not finite: must be")
    mu, sigma = (arrays[name].astype(np.float64) for name in ("mu", "sigma"))
    if not np.allclose(sigma, sigma.T, rtol=1e-4, atol=1e-6 * np.abs(sigma).max()) or (np.diag(sigma) < 0).any():
        raise UserError(f"{path}: sigma is no covariance: must be symmetric, with no negative variance")
    return mu, sigma


def _read_pt(path: str | Path) -> dict[str, np.ndarray]:
    import torch

    rebuild = np._core.multiarray._reconstruct  # what a pickled array names; numpy 1 kept it elsewhere
    arrays = [rebuild, (rebuild, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    dtypes = [type(np.dtype(name)) for name in ("float32", "float64")]
    try:
        with torch.serialization.safe_globals([*arrays, *dtypes]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except MemoryError:
        raise
    except Exception:  # the unpickler raises nearly anything on what it does not know
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, np.ndarray | torch.Tensor) for value in found.values()):
        raise UserError(f"{path}: not a file of arrays: must be torch-fidelity's statistics, mu and sigma")
    return {name: np.asarray(value) for name, value in found.items()}


def reference_statistics(
    batches: Iterable[np.ndarray], count: int, rng: np.random.Generator
) -> tuple[Moments, np.ndarray, dict]:
    """Statistics, kept rows and floor of a stream of features, in one pass and bounded memory.

    Args:
        batches: features (B, D) float32 of all real images.
        count: how many samples will be compared with them; sets the size of the floor's draw.
        rng: draws the kept rows, and those of the floor.

    Returns:
        moments: over all rows.
        rows: min(N, KID_FEATURES) of them, drawn at random without replacement.
        floor: `fid_floor`, `kid_floor` and `floor_count` = min(count, N // 2). `floor_count` rows are drawn at random
            and compared with the rest: FID with the statistics of all N - floor_count others, KID with as many of
            the others as are kept. No image is on both sides, so this is what a perfect model's samples would score
            up to chance and the size of the rest.

    Memory: count + KID_FEATURES rows and a few D x D matrices, whatever N is. Raises UserError for fewer than 4 rows.
    """
    reservoir, moments, waiting = Reservoir(count + KID_FEATURES, rng), None, []
    for batch in batches:
        reservoir.add(batch)
        waiting.append(batch)
        if sum(map(len, waiting)) >= len(batch[0]):  # D rows at a time: one product of matrices, little overhead
            moments, waiting = _joined(moments, waiting), []
    if waiting:
        moments = _joined(moments, waiting)
    if moments is None or moments.count < 4:
        found = 0 if moments is None else moments.count
        raise UserError(f"reference images: found {found}: must be at least 4, half for either side of the floor")
    rows = reservoir.shuffled()
    floor_count = min(count, moments.count // 2)
    drawn = row_moments(rows[:floor_count])
    rest = moments - drawn
    floor = {
        "fid_floor": frechet_distance(drawn.mean, drawn.covariance, rest.mean, rest.covariance),
        "kid_floor": kernel_distance(rows[:floor_count], rows[floor_count:], seed=0)[0],
        "floor_count": floor_count,
    }
    return moments, rows[:KID_FEATURES], floor


def _joined(moments: Moments | None, batches: list[np.ndarray]) -> Moments:
    new = row_moments(np.concatenate(batches))
    return new if moments is None else moments + new


def score(features: np.ndarray, reference: Reference) -> dict:
    """Distances of samples' features (N, D) float32, N >= 2, from the reference's: the metric columns of a score row.

    `fid_rank_deficient` says that N (or the reference's count) is not above D: a covariance is then singular and the
    Fréchet distance strongly biased, so the kernel distance should decide. FIDs of different counts never compare.
    NaN for what a reference of precomputed statistics can't tell: kid, kid_sd, the floor.
    """
    moments = row_moments(features)
    known = len(reference.rows) > 0
    kid, kid_sd = kernel_distance(features, reference.rows, seed=0) if known else (float("nan"), float("nan"))
    return {
        "fid": frechet_distance(moments.mean, moments.covariance, reference.mu, reference.sigma),
        "kid": kid,
        "kid_sd": kid_sd,
        "fid_rank_deficient": min(moments.count, reference.count if known else moments.count) <= len(reference.mu),
        "fid_floor": reference.fid_floor,
        "kid_floor": reference.kid_floor,
        "floor_count": reference.floor_count,
    }
