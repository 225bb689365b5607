"""Worker processes keep the order of pictures and stay a bounded number of chunks ahead."""

from dataclasses import replace

import numpy as np
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


def test_a_worker_that_dies_before_it_has_read_its_task_is_noticed(tmp_path):
    data = zip_data(write_noise_zip(tmp_path / "it.zip"))
    source = open_source(data)
    ballast = np.zeros(10_000_000, np.uint8)  # more than a pipe holds, as the listing of ImageNet
    source = replace(source, listing=source.listing._replace(locations={"ballast": ballast}))
    with decode_workers._Pool(source, data, workers=1) as pool:
        pool.workers[0].process.kill()
        with pytest.raises(decode_workers._WorkerDied, match="killed, or out of memory"):
            decode_workers._submit(pool, range(4)).result(timeout=30)


def test_an_unexpected_error_in_a_worker_shows_where_it_was_raised(tmp_path):
    data = zip_data(write_noise_zip(tmp_path / "it.zip"))
    with pytest.raises(IndexError) as error:
        list(decoded_chunks(open_source(data), data, [range(100, 104)], workers=1))
    assert "In a worker process:" in error.value.__notes__[0] and "sources.py" in error.value.__notes__[0]
