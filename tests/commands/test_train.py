"""`mpdit train`: its options, and mistakes in its files."""

import json
import shutil

import pytest
from helpers.tiny_runs import make_spec, read_outcome, train_in, write_latents

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


def train(folder, latents) -> int:
    files = [folder / "spec.json", "--latents", latents, "--output", folder / "trained.json"]
    return main(["train", *map(str, files), "--device", "cpu"])


def test_a_finished_run_without_checkpoints_is_not_trained_again(tmp_path, capsys):
    """Snakemake deletes trained.json before it runs the job again; checkpoints were deleted to free disk."""
    latents, folder = write_latents(tmp_path / "latents"), tmp_path / "run"
    assert train_in(folder, make_spec(), latents) == 0
    before = read_outcome(folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "trained.json").unlink()
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert train(folder, latents) == 0
    assert capsys.readouterr().out.endswith("trained at step 12 before: nothing to do\n")
    assert read_outcome(folder) == before
    assert files == {path: path.stat().st_mtime_ns for path in files if path != folder / "trained.json"}

    other = write_latents(tmp_path / "other", count=40)
    assert train(folder, other) == 2
    assert "was trained on latents 000000000000, but" in capsys.readouterr().err
    assert read_outcome(folder) == before
