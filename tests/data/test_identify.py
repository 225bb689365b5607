"""Listing pictures again: the same ones are remembered at their new path, other ones refused."""

import json

import pytest
from helpers.packings import PICTURES, data_of, noise_picture, write_folder, write_tar, write_zip

from mpdit.data.encode import encode
from mpdit.data.identify import identify
from mpdit.data.sources import open_source
from mpdit.experiment.known_source import path_state, read_known
from mpdit.experiment.picture_inputs import PictureInput
from mpdit.system.errors import UserError

FIELDS = {"data": "data.path", "heldout": "data.holdout", "reference": "scoring.reference"}
OTHERS = PICTURES | {"n00/new.JPEG": noise_picture(7)}


def list_again(tmp_path, packing, path, kind="data", **fields) -> None:
    data, pictures = data_of(packing, path, **fields), PictureInput(kind, "x", FIELDS[kind], str(path))
    identify(data, pictures, tmp_path / "sources/x.json", tmp_path / "latents/manifest.json")


@pytest.mark.parametrize("kind", FIELDS)
def test_the_same_pictures_are_known_wherever_they_are_and_others_are_refused(tmp_path, kind):
    folder, archive = write_folder(tmp_path / "folder"), write_zip(tmp_path / "a.zip")
    fields = {"holdout": str(archive)} if kind == "heldout" else {}
    list_again(tmp_path, "folder", folder, kind, **({"holdout": str(folder)} if kind == "heldout" else {}))
    list_again(tmp_path, "zip", archive, kind, **fields)
    known = read_known(tmp_path / "sources/x.json")
    assert known.states == {str(path): path_state(str(path)) for path in (folder, archive)}
    write_zip(archive, OTHERS)
    with pytest.raises(UserError, match=f"^{FIELDS[kind]}: {archive}: holds other pictures"):
        list_again(tmp_path, "zip", archive, kind, **fields)
    assert read_known(tmp_path / "sources/x.json") == known


def encoded(tmp_path, **fields) -> dict:
    """Encode PICTURES into the folder of latents; its manifest."""
    data = data_of("tar", write_tar(tmp_path / "a.tar", PICTURES | {"n02/broken.JPEG": b"?"}), broken="skip", **fields)
    encode(open_source(data), data, tmp_path / "latents")
    return json.loads((tmp_path / "latents/manifest.json").read_text())


def test_latents_say_of_which_pictures_they_are(tmp_path):
    manifest = encoded(tmp_path)
    list_again(tmp_path, "tar", tmp_path / "a.tar")
    assert read_known(tmp_path / "sources/x.json").fingerprint == manifest["source"]["listing"]
    (tmp_path / "sources/x.json").unlink()
    with pytest.raises(UserError, match=r"holds other pictures .* in .*latents/manifest.json"):
        list_again(tmp_path, "zip", write_zip(tmp_path / "a.zip"))


@pytest.mark.parametrize("flips", ["none", "both"])
def test_latents_of_earlier_versions_are_recognized_by_their_labels(tmp_path, flips):
    manifest = encoded(tmp_path, flips=flips)
    del manifest["source"]["listing"], manifest["seal"]
    (tmp_path / "latents/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="holds other pictures"):
        list_again(tmp_path, "zip", write_zip(tmp_path / "b.zip", OTHERS), flips=flips)
    assert read_known(tmp_path / "sources/x.json") is None
    list_again(tmp_path, "tar", tmp_path / "a.tar", flips=flips)
    assert read_known(tmp_path / "sources/x.json") is not None
