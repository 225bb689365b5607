"""Features by name, and how many samples a Fréchet distance needs to decide."""

from typing import get_args

import pytest

from mpdit.experiment.features import FEATURES, deciding_metric
from mpdit.experiment.schema import Scoring


def test_the_schema_names_every_kind_of_features():
    assert set(get_args(Scoring.model_fields["features"].annotation)) == set(FEATURES)


def test_projections_have_the_dimension_of_their_components():
    for features in FEATURES.values():
        assert features.network in FEATURES
        assert features.components in (None, features.dimension)
    assert FEATURES["efficientnet-lite0-pca64"].network == "efficientnet-lite0"


@pytest.mark.parametrize(
    ("count", "features", "metric"),
    [
        (1000, "efficientnet-lite0-pca64", "fid"),
        (320, "efficientnet-lite0-pca64", "fid"),
        (319, "efficientnet-lite0-pca64", "kid"),
        (6399, "efficientnet-lite0", "kid"),
        (6400, "efficientnet-lite0", "fid"),
        (10_000, "inception", "fid"),  # FID-10K
        (9_999, "inception", "kid"),
    ],
)
def test_the_frechet_distance_decides_from_enough_samples_on(count, features, metric):
    assert deciding_metric(count, FEATURES[features].dimension) == metric


def test_the_frechet_distance_never_decides_from_fewer_samples_than_dimensions():
    assert deciding_metric(10_000, 10_000) == "kid"
