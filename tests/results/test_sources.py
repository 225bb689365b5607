"""What the workflow asks before it makes anything: is what the study is made from what its results were made from?"""

import json
import os
from types import SimpleNamespace

import pytest
from helpers.manifests import MANIFEST

from mpdit.experiment.grid import Experiment
from mpdit.experiment.known_source import path_state
from mpdit.results.sources import known_file, manifest_file, source_problems, to_list_again

BLOCK = {"model": "DiT-Nano/4", "config": "E", "modulation": "scale_shift", "seed": 0}


class Study:
    """A study of x.zip in the working folder, and what is known of its pictures."""

    def __init__(self, folder, **sections):
        data = {"name": "x", "source": "zip", "path": "x.zip", "resolution": 8, **sections.pop("data", {})}
        values = {"data": data, "learning_rates": {"E": 0.02}, "experiments": {"table1": BLOCK}}
        self.experiment, self.results = Experiment(values | sections), folder / "results"
        self.name = self.experiment.data_name

    def encoded(self, fingerprint="latents", **source) -> "Study":
        manifest = {**MANIFEST, "source": {**MANIFEST["source"], **source}, "fingerprint": fingerprint}
        self.write(manifest_file(self.results, self.name), manifest)
        return self

    def known(self, name=None, fingerprint="pictures") -> "Study":
        path = "real.zip" if name else "x.zip"
        states = {path: path_state(path)} if os.path.exists(path) else {}
        self.write(known_file(self.results, name or self.name), {"fingerprint": fingerprint, "states": states})
        return self

    def write(self, path, value) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def problems(self, finished=None, **options) -> list[str]:
        return list(source_problems(self.experiment, self.results, finished or {}, **options))

    def changed(self) -> list[str]:
        return [pictures.field for pictures in to_list_again(self.experiment, self.results)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with x.zip and real.zip."""
    monkeypatch.chdir(tmp_path)
    for name in ("x.zip", "real.zip"):
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def test_before_anything_is_made_the_pictures_must_be_there(folder):
    study = Study(folder)
    assert study.problems() == study.changed() == []
    (folder / "x.zip").unlink()
    assert study.problems() == ["data.path: x.zip: no such file or folder; expected the pictures"]
    assert study.problems(needs_pictures=False) == []


def test_a_reference_that_is_not_there_is_a_problem_whatever_has_been_made(folder):
    study = Study(folder, scoring={"reference": "typo.npz"}).encoded().known()
    study.known(study.experiment.reference_name)
    line = "scoring.reference: typo.npz: no such file or folder; expected other real images or their statistics"
    assert study.problems() == study.problems(needs_pictures=False) == [line]


def test_pictures_that_are_as_they_were_are_not_listed_again(folder):
    study = Study(folder).encoded().known()
    assert study.problems() == study.changed() == []


@pytest.mark.parametrize("change", ["touched", "another path", "never listed"])
def test_pictures_that_are_not_as_they_were_are_listed_again(folder, change):
    study = Study(folder).encoded()
    if change != "never listed":
        study.known()
    if change == "touched":
        os.utime(folder / "x.zip", (1, 1))
    if change == "another path":
        os.rename("x.zip", "moved.zip")
        study.experiment = Study(folder, data={"path": "moved.zip"}).experiment
    assert (study.problems(), study.changed()) == ([], ["data.path"])


def test_other_references_are_listed_again_too(folder):
    study = Study(folder, scoring={"reference": "real.zip"}).encoded().known()
    study.known(study.experiment.reference_name)
    os.utime(folder / "real.zip", (1, 1))
    assert study.changed() == ["scoring.reference"]


@pytest.mark.parametrize("is_known", [True, False])
def test_pictures_may_be_deleted_once_they_are_encoded_but_not_mistyped(folder, is_known):
    study = Study(folder).encoded(path="x.zip")
    if is_known:
        study.known()
    (folder / "x.zip").unlink()
    assert study.problems() == study.changed() == []
    mistyped = Study(folder, data={"path": "y.zip"})
    (line,) = mistyped.problems()
    assert line == (
        f"data.path: y.zip: no such file or folder; the latents in {manifest_file(study.results, study.name).parent} "
        "were made from x.zip"
    )


def test_latents_of_other_pictures_are_a_problem(folder):
    study = Study(folder).encoded(listing="others").known()
    (line,) = study.problems()
    assert "latents of other pictures (others) than those that results here were made from (pictures)" in line
    assert study.encoded(listing="pictures").problems() == []


def test_a_run_that_was_trained_on_other_latents_is_a_problem(folder):
    study = Study(folder).encoded("new").known()
    assert study.problems({"run-1": SimpleNamespace(latents="new")}) == []
    (line,) = study.problems({name: SimpleNamespace(latents="old") for name in ("run-1", "run-2")})
    assert "latents new, but run run-1 was trained on old: these must be the same" in line
