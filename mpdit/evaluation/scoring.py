"""Samples and a reference -> FID, KID, and what they depend on."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.moments import row_moments
from ..experiment import run_files
from ..experiment.columns import FID
from ..experiment.known_source import KnownSource
from ..experiment.records import SampleRecord
from ..system.console import with_progress
from ..system.errors import UserError
from ..system.files import write_csv
from ..system.provenance import commit
from .features import load_extractor
from .metrics import frechet_distance, kernel_distance
from .reference import Reference, compared_features_hash
from .sample_archive import read_samples


@dataclass(frozen=True)
class Score:
    """The distances of samples from a reference. KID, floor and count are None for precomputed statistics."""

    features: str
    features_hash: str
    reference: str
    reference_count: int | None
    reference_hash: str
    fid: float
    kid: float | None
    kid_sd: float | None  # its standard error over samples; None where KID is a mean over subsets
    fid_rank_deficient: bool  # the smaller count is not above the number of features
    fid_floor: float | None
    kid_floor: float | None
    floor_count: int | None


# What a score's own file has of the columns of fid.csv: the protocol's name is that of the folder it is in.
COLUMNS = tuple(name for name in FID.names if name != "protocol")


def score_samples(
    samples: Path,
    reference_file: Path,
    output: Path,
    *,
    known: KnownSource | None = None,
    weights: str | None = None,
    device: str = "auto",
) -> None:
    """Score a samples.npz, with protocol.json beside it, against a reference; write one row, of COLUMNS, to a CSV.

    Empty samples, of a run that diverged, give the header alone. Raises UserError if a file is missing or damaged, if
    there are more or fewer images than protocol.json tells, if the reference was built with other features, or from
    other pictures than those that are `known`.
    """
    images, record = read_samples(samples), SampleRecord.read(samples.parent / run_files.SAMPLE_RECORD)
    reference = Reference.load(reference_file)
    if known is not None and reference.identity not in (None, known.fingerprint):
        raise UserError(
            f"{reference_file}: was made from other pictures or statistics ({reference.identity:.12}) than those that "
            f"the study has now ({known.fingerprint:.12}); delete it, and run again"
        )
    if len(images) == 0:
        write_csv(output, COLUMNS, [])
        return
    if len(images) != record.count:
        raise UserError(f"{samples}: {len(images)} images: must be {record.count}, as {run_files.SAMPLE_RECORD} says")
    if len(images) < 2:
        raise UserError(f"{samples}: 1 image: must be at least 2, a distance needs a covariance")
    extractor = load_extractor(reference.features, weights, device)
    expected = compared_features_hash(extractor.hash, reference.features, reference.hash)
    if expected != reference.features_hash:
        raise UserError(
            f"{reference_file}: {reference.features} with hash {reference.features_hash}: must be built with the "
            f"features that are used here, {expected}; run mpdit reference again"
        )
    features = np.concatenate(list(extractor.batches(with_progress("score", images, len(images)))))
    values = {**record.to_json(), **asdict(score(features, reference)), "commit": commit()}
    write_csv(output, COLUMNS, [{name: values[name] for name in COLUMNS}])


def score(features: NDArray[np.float32], reference: Reference) -> Score:
    """The distances of samples' features from the reference's.

    The features are (N, D) float32, N >= 2, as the network gives them; the reference's projection is applied here.

    `fid_rank_deficient` tells that N or the reference's count is at most D. A covariance is then singular and the
    Fréchet distance strongly biased, so the kernel distance should decide. Never compare FIDs of different counts.
    """
    if reference.projection is not None:
        features = reference.projection.rows(features)
    moments = row_moments(features)
    kid, kid_sd = None, None
    if len(reference.rows):
        ours, theirs = features, reference.rows
        if reference.projection is not None:
            ours, theirs = (reference.projection.kernel_rows(rows) for rows in (ours, theirs))
        kid, kid_sd = kernel_distance(ours, theirs, seed=0, mean_kernel_2=reference.mean_kernel)
    smaller_count = moments.count if reference.count is None else min(moments.count, reference.count)
    floor = reference.floor
    return Score(
        features=reference.features,
        features_hash=reference.features_hash,
        reference=reference.name,
        reference_count=reference.count,
        reference_hash=reference.hash,
        fid=frechet_distance(moments.mean, moments.covariance, reference.mu, reference.sigma),
        kid=kid,
        kid_sd=kid_sd,
        fid_rank_deficient=smaller_count <= len(reference.mu),
        fid_floor=None if floor is None else floor.fid,
        kid_floor=None if floor is None else floor.kid,
        floor_count=None if floor is None else floor.count,
    )
