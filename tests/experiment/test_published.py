"""The registry of published settings."""

import pytest

from mpdit.experiment import published
from mpdit.experiment.grid import Experiment

CONFIG = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8, "snapshots": 4},
    "learning_rates": {"A": 1e-3, "E": 0.02},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": 0},
    },
}


@pytest.fixture
def nothing_registered(monkeypatch):
    monkeypatch.setattr(published, "PUBLISHED_SETTINGS", [])


def paper_settings() -> dict[str, bool]:
    return {run["config"]: run["paper_setting"] for run in Experiment(CONFIG).plan("table1")["runs"]}


@pytest.mark.usefixtures("nothing_registered")
def test_no_run_is_published_until_a_setting_is_registered():
    assert paper_settings() == {"A": False, "E": False}
    published.published_setting(lambda run: run.config == "E")
    assert paper_settings() == {"A": False, "E": True}
    published.published_setting(lambda run: run.lr == 1e-3)
    assert paper_settings() == {"A": True, "E": True}
