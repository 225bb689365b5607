"""The JSON files that stages leave for one another."""

import json

import pytest
from helpers.manifests import MANIFEST

from mpdit.experiment.records import Manifest, PlannedRun, TrainedRun
from mpdit.system.errors import UserError

TRAINED = {
    "run": "a-run", "status": "trained", "step": 10, "steps": 10, "parameters": 100, "images_per_second": 5,
    "seconds": 1.5, "peak_memory_mb": 300.0, "loss": 0.5, "latents": "ab12", "device": "cpu", "threads": 1,
    "commit": None, "versions": {"torch": "2.14", "mpdit": None},
}  # fmt: skip


@pytest.mark.parametrize(("record", "values"), [(TrainedRun, TRAINED), (Manifest, MANIFEST)])
def test_what_is_read_is_written_back_key_by_key(record, values):
    assert json.dumps(record.from_json(values, "file").to_json()) == json.dumps(values)


def test_several_devices_are_a_field_where_version_0_1_wrote_them_into_the_name():
    old = TrainedRun.from_json(TRAINED | {"device": "4 x NVIDIA H100"}, "trained.json")
    assert (old.device, old.devices, old.hardware) == ("NVIDIA H100", 4, "4 x NVIDIA H100")
    assert TrainedRun.from_json(old.to_json(), "trained.json") == old
    assert "devices" not in TrainedRun.from_json(TRAINED, "trained.json").to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": ...}, "trained.json: missing field 'step'; expected a file that `mpdit train` wrote"),
        ({"step": "10"}, "trained.json: step: expected a whole number, got '10'"),
        ({"step": True}, "trained.json: step: expected a whole number, got 'True'"),
        ({"loss": "low"}, "trained.json: loss: expected a number, got 'low'"),
        ({"versions": []}, "trained.json: versions: expected a mapping, got '[]'"),
        ({"status": "training"}, "trained.json: status: expected trained or diverged, got 'training'"),
    ],
)
def test_a_wrong_field_is_one_line(change, message):
    values = {key: value for key, value in (TRAINED | change).items() if value is not ...}
    with pytest.raises(UserError) as error:
        TrainedRun.from_json(values, "trained.json")
    assert str(error.value) == message


def test_what_is_no_mapping_is_one_line(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match=r"manifest.json: expected a mapping that `mpdit encode` wrote"):
        Manifest.read(tmp_path / "manifest.json")
    wrong = MANIFEST | {"source": {"kind": "zip"}}
    with pytest.raises(UserError, match=r"manifest.json: source: missing field 'path'"):
        Manifest.from_json(wrong, "manifest.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [1, 8]}, "shape is (1, 8), expected (C, H, W), each at least 1"),
        ({"shape": []}, "shape is (), expected (C, H, W), each at least 1"),
        ({"shape": [1, 8, 0]}, "shape is (1, 8, 0), expected (C, H, W), each at least 1"),
        ({"count": 0}, "count is 0, expected at least 1"),
        ({"classes": []}, "classes is (), expected at least one"),
    ],
)
def test_a_manifest_of_what_no_latents_could_be_is_one_line(change, message):
    with pytest.raises(UserError) as error:
        Manifest.from_json(MANIFEST | change, "manifest.json")
    assert str(error.value) == f"manifest.json: {message}; encode again"


def test_a_planned_run_keeps_its_scores_as_a_list():
    values = {
        "run": "r", "model": "DiT-S/2", "config": "E", "modulation": "scale", "lr": 1e-2, "seed": 0, "data": "x",
        "steps": 5, "paper_setting": False, "standard_lr": True, "scores": ["samples/p/fid-inception.csv"],
    }  # fmt: skip
    assert PlannedRun.from_json(values, "plan.json").to_json() == values
