"""A small reference of random features, for tests of statistics and scores."""

from dataclasses import replace

import numpy as np

from mpdit.evaluation.reference import Reference, reference_statistics


def batches_of(rows, size=16):
    return (rows[start : start + size] for start in range(0, len(rows), size))


def random_reference(**changes) -> Reference:
    """A reference of 40 random rows of 6 features."""
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    moments, kept_rows, floor, _ = reference_statistics(batches_of(rows), 10, np.random.default_rng(0))
    reference = Reference(
        name="digits",
        hash="a" * 16,
        features="efficientnet-lite0",
        features_hash="b" * 16,
        count=40,
        mu=moments.mean,
        sigma=moments.covariance,
        rows=kept_rows,
        floor=floor,
    )
    return replace(reference, **changes)
