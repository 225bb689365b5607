"""The reference: statistics of real images' features, which samples are compared with, and the real-against-real floor.

The floor is the score of real images against other real images, about what a perfect model would score.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.moments import Moments, row_moments
from ..data.sources import open_source, other_data, rgb_images
from ..experiment.checks import STATISTICS
from ..experiment.features import FEATURES
from ..experiment.remedies import remedy
from ..experiment.schema import Data
from ..system.console import with_progress
from ..system.errors import UserError
from ..system.files import file_hash, replacing
from ..system.seals import require_intact
from ..system.seeds import seed_of
from .features import load_extractor
from .metrics import frechet_distance, kernel_distance, mean_kernel, over_all_pairs
from .npz import read_npz
from .precomputed import read_statistics
from .projection import Projection, principal_components, projected_hash
from .reservoir import Reservoir

KID_FEATURES = 10_000  # rows of features kept for KID: 51 MB at 1280 dimensions, 82 MB at 2048


@dataclass(frozen=True)
class Floor:
    """Distances of `count` real images, drawn at random, from the others: no image is on both sides."""

    fid: float
    kid: float
    count: int


@dataclass(frozen=True)
class Reference:
    """Statistics of the features of real images. Precomputed ones have no rows, and their count and floor are None."""

    name: str  # of the data set, or of the file
    hash: str  # of the images, in order, and of the features' hash; or of the file
    features: str  # a key of FEATURES
    features_hash: str  # of the network's weights and of how images are prepared for it (`compared_features_hash`)
    count: int | None  # number of real images
    mu: NDArray[np.float64]  # (D,) float64, mean over all of them
    sigma: NDArray[np.float64]  # (D, D) float64, covariance
    rows: NDArray[np.float32]  # (min(count, KID_FEATURES), D) float32, features drawn at random for KID
    floor: Floor | None
    projection: Projection | None = None  # of the network's features, to those that are compared
    listing: str | None = None  # fingerprint of the pictures' source; None: statistics, or made by an earlier version
    mean_kernel: float | None = None  # `metrics.mean_kernel` of the rows, if KID needs it; files of version 0.1 lack it

    @property
    def identity(self) -> str | None:
        """What it was made from: the fingerprint of the pictures' source, or the hash of the statistics' file.

        None for a reference of pictures that an earlier version made, which says no such thing.
        """
        return self.hash if self.count is None else self.listing

    def save(self, path: str | Path) -> None:
        """Write an .npz, with `mu` and `sigma` under the names that torch-fidelity and the ADM evaluator use.

        What is None is written as NaN; a projection, as `center` and `components`, the fingerprint of the listing and
        the mean kernel only where there is one.
        """
        floor, projection = self.floor, self.projection
        arrays: dict[str, Any] = {}
        if projection is not None:
            arrays.update(center=projection.center, components=projection.components)
        if self.mean_kernel is not None:
            arrays["mean_kernel"] = self.mean_kernel
        if self.listing is not None:
            arrays["listing"] = self.listing
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(
                file,
                name=self.name,
                hash=self.hash,
                features=self.features,
                features_hash=self.features_hash,
                count=np.nan if self.count is None else self.count,
                mu=self.mu,
                sigma=self.sigma,
                rows=self.rows,
                fid_floor=np.nan if floor is None else floor.fid,
                kid_floor=np.nan if floor is None else floor.kid,
                floor_count=np.nan if floor is None else floor.count,
                **arrays,
            )

    @classmethod
    def load(cls, path: str | Path) -> "Reference":
        """Read what `save` wrote. Raises UserError if the file is missing or is something else."""
        require_intact(path, remedy(path))
        arrays = read_npz(path)
        try:
            scalars = {name: array.item() for name, array in arrays.items() if array.ndim == 0}
            precomputed = np.isnan(scalars["count"])
            return cls(
                name=scalars["name"],
                hash=scalars["hash"],
                features=scalars["features"],
                features_hash=scalars["features_hash"],
                count=None if precomputed else scalars["count"],
                mu=arrays["mu"],
                sigma=arrays["sigma"],
                rows=arrays["rows"],
                floor=None
                if precomputed
                else Floor(scalars["fid_floor"], scalars["kid_floor"], scalars["floor_count"]),
                projection=Projection(arrays["center"], arrays["components"]) if "components" in arrays else None,
                listing=scalars.get("listing"),
                mean_kernel=scalars.get("mean_kernel"),
            )
        except KeyError as error:
            raise UserError(f"{path}: no array {error}: must be a file that `mpdit reference` wrote") from None


def build_reference(
    data: Data,
    features: str,
    count: int,
    *,
    source: str | None = None,
    weights: str | None = None,
    device: str = "auto",
    accept: Callable[[str], None] = lambda identity: None,
) -> Reference:
    """The reference of the images that `data` describes, without those that it withholds, or of `source`.

    Args:
        data: the data section of a configuration. Its images are resized and cropped as for encoding, but neither
            mirrored nor passed through an autoencoder.
        features: a key of FEATURES.
        count: the number of samples that will be compared with the reference; sets the size of the floor's draw.
        source: other real images, which are treated like those of `data` (a folder, with or without classes, a .zip or
            .tar of one, or Parquet shards), or a file of precomputed statistics, which is taken as it is.
        weights, device: see `load_extractor`.
        accept: called with the identity of the reference (`Reference.identity`) before any image is read; an exception
            from it stops the building.

    Raises UserError if images, statistics or weights cannot be read, or if there are too few images.
    """
    if count < 2:
        raise UserError(f"--count: {count}: must be at least 2")
    extractor = load_extractor(features, weights, device)
    if source is not None and Path(source).suffix in STATISTICS:
        precomputed = precomputed_reference(source, features, extractor.hash, extractor.dimension)
        accept(precomputed.hash)
        return precomputed
    name = data.name
    if source is not None:
        name, data = Path(source).name, other_data(data, source)
    opened = open_source(data, labeled=source is None)
    accept(opened.fingerprint)
    digest = hashlib.sha256(extractor.hash.encode())

    def images() -> Iterator[NDArray[np.uint8]]:
        for image, _ in rgb_images(opened, data):
            digest.update(repr(image.shape).encode())
            digest.update(image.tobytes())
            yield image

    batches = extractor.batches(with_progress("reference", images(), len(opened)))
    # The key is fixed: every run is compared with the same reference, whatever its own seed.
    rng = np.random.default_rng(seed_of("reference"))
    statistics = reference_statistics(batches, count, rng, FEATURES[features].components)
    reference_hash, rows = digest.hexdigest()[:16], statistics.rows
    compared = rows if statistics.projection is None else statistics.projection.kernel_rows(rows)
    return Reference(
        name=name,
        hash=reference_hash,
        features=features,
        features_hash=compared_features_hash(extractor.hash, features, reference_hash),
        count=statistics.moments.count,
        mu=statistics.moments.mean,
        sigma=statistics.moments.covariance,
        rows=rows,
        floor=statistics.floor,
        projection=statistics.projection,
        mean_kernel=mean_kernel(compared) if over_all_pairs(count, *rows.shape) else None,
        listing=opened.fingerprint,
    )


def compared_features_hash(network_hash: str, features: str, reference_hash: str) -> str:
    """What stands for features in scores: the network's hash, or that of a projection on components of a reference."""
    components = FEATURES[features].components
    return network_hash if components is None else projected_hash(network_hash, reference_hash, components)


def precomputed_reference(path: str | Path, features: str, network_hash: str, dimension: int) -> Reference:
    """A reference from a file of statistics of `dimension` features of a network.

    That they are of this network is assumed, not checked. They are projected where the features are a projection.
    """
    mu, sigma = read_statistics(path, dimension)
    components, reference_hash, projection = FEATURES[features].components, file_hash(path), None
    if components is not None:
        projection = principal_components(mu, sigma, components)
        mu, sigma = np.zeros(components), projection.components.T @ sigma @ projection.components
    return Reference(
        name=Path(path).name,
        hash=reference_hash,
        features=features,
        features_hash=compared_features_hash(network_hash, features, reference_hash),
        count=None,
        mu=mu,
        sigma=sigma,
        rows=np.zeros((0, len(mu)), np.float32),
        floor=None,
        projection=projection,
    )


class Statistics(NamedTuple):
    """What a reference holds of a stream of features."""

    moments: Moments
    rows: NDArray[np.float32]
    floor: Floor
    projection: Projection | None


def reference_statistics(
    batches: Iterable[NDArray[np.float32]], count: int, rng: np.random.Generator, components: int | None = None
) -> Statistics:
    """Statistics, kept rows and floor of a stream of features, in one pass and bounded memory.

    Args:
        batches: features (B, D) float32 of all real images.
        count: the number of samples that will be compared with them; sets the size of the floor's draw.
        rng: draws the kept rows and those of the floor.
        components: project all features on so many principal components of theirs.

    Returns:
        moments: over all N rows.
        rows: min(N, KID_FEATURES) of them, drawn at random without replacement.
        floor: min(count, N // 2) rows, drawn at random, are compared with the rest: by FID with the statistics of all
            others, by KID with as many of the others as are kept. A perfect model's samples would score this, up to
            chance and the number of the others.
        projection: of the features, None without `components`. The floor's images are among those that it is made of.

    Holds count + KID_FEATURES rows and a few D x D matrices in memory, whatever N is. Raises UserError for fewer than
    4 rows.
    """
    reservoir = Reservoir(count + KID_FEATURES, rng)
    moments: Moments | None = None
    waiting: list[NDArray[np.float32]] = []
    for batch in batches:
        reservoir.add(batch)
        waiting.append(batch)
        if sum(map(len, waiting)) >= len(batch[0]):  # D rows at a time: one matrix product, little overhead
            moments, waiting = _merged(moments, waiting), []
    if waiting:
        moments = _merged(moments, waiting)
    if moments is None or moments.count < 4:
        images = 0 if moments is None else moments.count
        raise UserError(f"reference: {images} real images: must be at least 4, two on either side of the floor")
    rows, projection = reservoir.shuffled(), None
    if components is not None:
        projection = principal_components(moments.mean, moments.covariance, components)
        rows, moments = projection.rows(rows), projection.moments(moments)
    floor_count = min(count, moments.count // 2)
    held_back = row_moments(rows[:floor_count])
    others = moments - held_back
    fid = frechet_distance(held_back.mean, held_back.covariance, others.mean, others.covariance)
    compared = rows if projection is None else projection.kernel_rows(rows)
    kid, _ = kernel_distance(compared[:floor_count], compared[floor_count:], seed=0)
    return Statistics(moments, rows[:KID_FEATURES], Floor(fid, kid, floor_count), projection)


def _merged(moments: Moments | None, batches: list[NDArray[np.float32]]) -> Moments:
    new = row_moments(np.concatenate(batches))
    return new if moments is None else moments + new
