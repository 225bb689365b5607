"""The size of a study's data from its latents or its source, and what is assumed where these are not at hand."""

import copy
import shutil

import pytest
from helpers.picture_zips import write_noise_zip
from helpers.workloads import SMALL_STUDY, workload_of

from mpdit.experiment.grid import Experiment
from mpdit.planning.data_summary import summarize_data
from mpdit.system.errors import UserError


def test_a_source_at_hand_is_counted(tmp_path):
    data = summarize_data(Experiment(SMALL_STUDY), tmp_path)
    assert (data.images, data.classes, data.autoencoder.shape, data.encoded) == (5000, 10, (1, 8, 8), False)
    assert data.notes == ()


def test_held_out_pictures_are_counted_apart(tmp_path):
    def summary(images=None, **fields):
        configuration = copy.deepcopy(SMALL_STUDY)
        configuration["data"] |= fields
        return summarize_data(Experiment(configuration), tmp_path, images)

    assert (summary(holdout=40).images, summary(holdout=40).heldout_images) == (4600, 400)
    elsewhere = summary(images=5000, source="tar", path="nowhere.tar", holdout=2)
    assert (elsewhere.images, elsewhere.heldout_images) == (3000, 2000)  # of 1,000 classes, which are assumed
    others = write_noise_zip(tmp_path / "others.zip", 12)
    assert (summary(holdout=str(others)).images, summary(holdout=str(others)).heldout_images) == (5000, 12)
    unknown = summary(holdout="nowhere.tar")
    assert (unknown.images, unknown.heldout_images) == (5000, None)
    assert "number of held-out images is not known" in unknown.notes[0]


def test_encoded_latents_describe_themselves(tmp_path, tiny_latents):
    experiment = Experiment(SMALL_STUDY | {"data": SMALL_STUDY["data"] | {"name": "mnist8"}})
    folder = tmp_path / "latents" / experiment.data_name
    shutil.copytree(tiny_latents, folder)
    data = summarize_data(experiment, tmp_path)
    assert (data.images, data.classes, data.autoencoder.shape, data.encoded) == (64, 10, (1, 8, 8), True)
    (jobs,) = workload_of(tmp_path, experiment.configuration, ["table1"]).jobs("encode")
    assert (jobs.all, jobs.done) == (1, 1)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"manifest.json: missing field 'version'.* `mpdit encode`"):
        summarize_data(experiment, tmp_path)


def test_what_is_not_at_hand_is_assumed_and_noted(tmp_path):
    configuration = copy.deepcopy(SMALL_STUDY)
    configuration["data"] |= {"source": "zip", "path": "nowhere.zip", "autoencoder": str(tmp_path / "vae")}
    data = summarize_data(Experiment(configuration), tmp_path)
    assert (data.images, data.classes, data.autoencoder.shape) == (None, 1000, (4, 1, 1))
    assert len(data.notes) == 4
    assert "assumed to be an SD-VAE" in data.notes[0]
    assert data.notes[1].startswith("data.path: nowhere.zip: no such file")
    assert "--images" in data.notes[2]
    assert data.notes[3] == "1,000 classes are assumed"
    assert summarize_data(Experiment(configuration), tmp_path, images=50).images == 50
