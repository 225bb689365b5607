"""`mpdit train`: its options, and mistakes in its files."""

import json

import pytest
from helpers.tiny_runs import make_spec

from mpdit.__main__ import main


def test_a_spec_without_a_field_is_an_error_that_names_file_and_field(tmp_path, capsys):
    spec = make_spec().to_json()
    del spec["lr"]
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments = ["train", str(tmp_path / "spec.json"), "--latents", "x", "--output", str(tmp_path / "trained.json")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mpdit train: {tmp_path}/spec.json: lr: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--devices", "--threads", "--log-every", "--checkpoint-every"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_counts_must_be_whole_numbers_of_at_least_1(option, value, capsys):
    with pytest.raises(SystemExit) as error:
        main(["train", "spec.json", "--latents", "x", "--output", "y", f"{option}={value}"])
    assert error.value.code == 2
    assert f"argument {option}: {value}: must be a whole number of at least 1" in capsys.readouterr().err
