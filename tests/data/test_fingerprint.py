"""The fingerprint of a source: the same for the same pictures in any packing, another one for other pictures."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.packings import PICTURES, data_of, pack_pictures, write_folder, write_parquet, write_zip

from mpdit.data.fingerprint import PROBES
from mpdit.data.sources import open_source

NAMES = sorted(PICTURES)


def fingerprint(packing, path) -> str:
    return open_source(data_of(packing, path)).fingerprint


def test_a_folder_a_zip_and_a_tar_of_the_same_pictures_have_one_fingerprint(tmp_path):
    found = {packing: open_source(data).fingerprint for packing, data in pack_pictures(tmp_path).items()}
    assert len({found[packing] for packing in ("folder", "zip", "tar", "tars")}) == 1
    assert fingerprint("zip", write_zip(tmp_path / "inside.zip", prefix="pictures/train/")) == found["zip"]
    assert fingerprint("parquet", write_parquet(tmp_path / "other-shards", shards=2)) == found["parquet"]


def test_pictures_that_are_withheld_change_nothing(tmp_path):
    source = open_source(data_of("folder", write_folder(tmp_path / "folder")))
    assert replace(source, selected=np.array([1, 2])).fingerprint == source.fingerprint


@pytest.mark.parametrize("packing", ["folder", "zip"])
@pytest.mark.parametrize("change", ["removed", "renamed", "of another class", "of another size", "of other bytes"])
def test_other_pictures_have_another_fingerprint(tmp_path, packing, change):
    files = dict(PICTURES)
    content = files.pop(NAMES[4])
    match change:
        case "renamed":
            files[NAMES[4].replace(".JPEG", "0.JPEG")] = content
        case "of another class":
            files[f"n00{NAMES[4].removeprefix('n01')}"] = content
        case "of another size":
            files[NAMES[4]] = content + b"\0"
        case "of other bytes":
            files[NAMES[4]] = content[:-1] + b"\0"
    write = {"folder": write_folder, "zip": write_zip}[packing]
    assert fingerprint(packing, write(tmp_path / "other", files)) != fingerprint(
        packing, write(tmp_path / "a", PICTURES)
    )


def test_few_pictures_are_read_however_many_there_are(tmp_path, monkeypatch):
    files = {f"a/{index:03}.png": b"\0" * 10 for index in range(100)}
    source = open_source(data_of("folder", write_folder(tmp_path, files)))
    read: list[int] = []
    monkeypatch.setattr(type(source.read), "__call__", lambda self, index: read.append(index) or b"")
    assert source.fingerprint
    assert len(read) == PROBES and (read[0], read[-1]) == (0, 99)
    assert np.ptp(np.diff(read)) <= 1
