"""Worker processes keep the order of pictures and stay a bounded number of chunks ahead."""

import psutil
import pytest
from helpers.picture_zips import write_noise_zip, zip_data

from mpdit.data import decode_workers
from mpdit.data.decode_workers import CHUNKS_AHEAD, decoded_chunks
from mpdit.data.sources import open_source
from mpdit.system.errors import UserError

CHUNKS = [range(start, start + 4) for start in range(0, 60, 4)]


def test_workers_keep_the_order_and_stay_a_bounded_number_of_chunks_ahead(tmp_path, monkeypatch):
    data = zip_data(write_noise_zip(tmp_path / "it.zip", count=60))
    source = open_source(data)
    submitted, submit = [], decode_workers._submit

    def recorded(pool, chunk):
        submitted.append(chunk)
        return submit(pool, chunk)

    monkeypatch.setattr(decode_workers, "_submit", recorded)
    names = []
    for consumed, pictures in enumerate(decoded_chunks(source, data, CHUNKS, workers=2), start=1):
        names += [picture.name for picture in pictures]
        assert len(submitted) == min(len(CHUNKS), consumed + 2 * CHUNKS_AHEAD)
    assert names == list(source.names)
    assert not [child for child in psutil.Process().children() if "resource_tracker" not in str(child.cmdline())]


def test_workers_name_the_first_broken_picture(tmp_path):
    data = zip_data(write_noise_zip(tmp_path / "it.zip", count=60, broken=(17, 18, 59)))
    with pytest.raises(UserError, match=r"cat/0017"):
        list(decoded_chunks(open_source(data), data, CHUNKS, workers=2))
