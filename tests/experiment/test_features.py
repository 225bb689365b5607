"""Features by name, and how many samples a Fréchet distance needs to decide."""

import pytest

from mpdit.experiment.features import FEATURES, deciding_metric, file_name
from mpdit.experiment.features import features as register
from mpdit.experiment.grid import Experiment
from mpdit.system.errors import UserError

CONFIGURATION = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8},
    "scoring": {"features": "pixels"},
    "learning_rates": {"E": 0.01},
    "experiments": {"own": {"model": "DiT-Nano/4", "config": "E", "modulation": "scale", "seed": 0}},
}


def test_features_of_a_study_can_be_named_and_their_version_names_scores(registries):
    with pytest.raises(UserError, match=r"scoring\.features: expected one of .*, inception, got 'pixels'"):
        Experiment(CONFIGURATION)
    register("pixels", version=3, label="Pixels", dimension=192)(lambda: None)
    assert Experiment(CONFIGURATION).score_file == "fid-pixels-v3.csv"
    assert file_name("inception") == "inception"


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("my pixels", {}, "features 'my pixels': expected a name of letters, digits and underscores"),
        ("inception", {}, "features 'inception': the name is taken; choose another name"),
        ("pixels", {"version": 0}, "features 'pixels': version: expected a whole number of at least 1, got 0"),
        ("pixels", {"dimension": 1.5}, "features 'pixels': dimension: expected a whole number of at least 1, got 1.5"),
    ],
)
def test_features_that_cannot_be_registered_are_refused(registries, name, values, problem):
    with pytest.raises(UserError) as error:
        register(name, **{"version": 1, "label": "Pixels", "dimension": 192, **values})
    assert str(error.value) == problem


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
