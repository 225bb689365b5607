"""A study that is rendered while its runs are still being trained."""

from pathlib import Path

import pytest
from helpers.interim_studies import own_artifacts, write_unfinished_study


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_unfinished_study(folder)
    with own_artifacts():
        yield folder
