"""Packed names, and the index file that stands in for listing a source again."""

import numpy as np
import pytest
from helpers.packings import PACKINGS, PICTURES, data_of, noise_picture, pack_pictures, write_tar

from mpdit.data import sources
from mpdit.data.listing import PackedStrings
from mpdit.data.sources import open_source, save_index
from mpdit.experiment.parse import parse_data
from mpdit.system.errors import UserError
from mpdit.system.seals import seal_file


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Packing -> the data section of PICTURES packed that way; and the built-in digits."""
    digits = parse_data({"name": "digits", "source": "mnist", "resolution": 8})
    return pack_pictures(tmp_path_factory.mktemp("packed")) | {"mnist": digits}


def test_packed_strings_behave_like_a_list():
    strings = ["a/1.png", "", "b/ünïcödé.jpg", "c/\udcff.jpg", "b" * 300]
    names = PackedStrings.pack(strings)
    assert list(names) == strings and names[-1] == strings[-1] and names[1:4:2] == strings[1:4:2] and len(names) == 5
    with pytest.raises(IndexError):
        names[5]


@pytest.mark.parametrize("packing", [*PACKINGS, "mnist"])
def test_a_source_opened_from_its_index_is_the_same_without_listing_it(packed, packing, tmp_path, monkeypatch):
    data = packed[packing]
    source = open_source(data)
    save_index(source, tmp_path / "index.npz")
    unlistable = sources.SOURCES[data.source]._replace(list_pictures=None)
    monkeypatch.setitem(sources.SOURCES, data.source, unlistable)
    indexed = open_source(data, index=tmp_path / "index.npz")
    assert indexed.classes == source.classes and list(indexed.names) == list(source.names)
    assert np.array_equal(indexed.labels, source.labels) and indexed.labels.dtype == np.int64
    for index in range(min(10, len(source))):
        one, other = source.picture(index, 8), indexed.picture(index, 8)
        assert one.identity == other.identity and np.array_equal(one.crop, other.crop)


def test_an_index_of_something_else_is_refused(packed, tmp_path):
    index = tmp_path / "index.npz"
    with pytest.raises(UserError, match=r"index\.npz: no such file$"):
        open_source(packed["tar"], index=index)
    save_index(open_source(packed["tar"]), index)
    with pytest.raises(UserError, match=r"index\.npz: .* of kind tar, not zip; list .*zip again with mpdit encode"):
        open_source(packed["zip"], index=index)
    other = data_of("tar", write_tar(tmp_path / "other.tar", PICTURES | {"n00/9.JPEG": noise_picture(9)}))
    with pytest.raises(UserError, match=r"index\.npz: the indexed files are others, .*; list .*other\.tar again"):
        open_source(other, index=index)
    index.write_bytes(index.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"index\.npz: damaged: its content is not .*; list .*tar again"):
        open_source(packed["tar"], index=index)
    seal_file(index).unlink()
    with pytest.raises(UserError, match=r"index\.npz: damaged, or not an index of pictures; list .*tar again"):
        open_source(packed["tar"], index=index)
