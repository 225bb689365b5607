"""The files that a configuration names."""

import pytest

from mpdit.experiment.grid import Experiment
from mpdit.experiment.picture_inputs import missing_files, picture_inputs

BLOCK = {"model": "DiT-Nano/4", "config": "E", "modulation": "scale_shift", "seed": 0}


def study(scoring=None, **data) -> Experiment:
    data = {"name": "x", "source": "zip", "path": "x.zip", "resolution": 8, **data}
    rates, blocks = {"E": 0.02}, {"table1": BLOCK}
    return Experiment({"data": data, "scoring": scoring or {}, "learning_rates": rates, "experiments": blocks})


def test_pictures_have_the_names_of_what_is_made_from_them():
    plain = study(holdout=5)
    assert [(each.field, each.name) for each in picture_inputs(plain)] == [("data.path", plain.data_name)]
    other = study({"reference": "real/val.npz"}, holdout="val.zip")
    assert [(each.kind, each.path, each.name, each.is_statistics) for each in picture_inputs(other)] == [
        ("data", "x.zip", other.data_name, False),
        ("heldout", "val.zip", other.heldout_name, False),
        ("reference", "real/val.npz", other.reference_name, True),
    ]
    assert picture_inputs(study(source="mnist", path=None)) == []


@pytest.mark.parametrize(
    ("scoring", "autoencoder", "problem"),
    [
        ({}, None, None),
        ({"weights": "w.pth"}, None, "scoring.weights: w.pth: no such file"),
        ({}, "stabilityai/sd-vae", None),
        ({}, "./vae", "data.autoencoder: ./vae: no such folder"),
        ({}, "some/where/vae", "data.autoencoder: some/where/vae: no such folder"),
    ],
)
def test_a_missing_file_is_one_line(scoring, autoencoder, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = list(missing_files(study(scoring, autoencoder=autoencoder)))
    assert [line.split("; expected")[0] for line in lines] == ([problem] if problem else [])
    (tmp_path / "w.pth").touch()
    for folder in ("vae", "some/where/vae"):
        (tmp_path / folder).mkdir(parents=True)
    assert list(missing_files(study(scoring, autoencoder=autoencoder))) == []
