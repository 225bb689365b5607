"""What is damaged in a results folder is named with the way out; what is intact is counted."""

import json
import shutil

import pytest
from helpers.damage import cut_line, flip_bit, rewrite_json
from helpers.tiny_runs import make_spec, train_in, write_latents

from mpdit.evaluation.sample_archive import sample_writer
from mpdit.results.verification import Verified, verify
from mpdit.system.errors import UserError
from mpdit.system.files import write_csv, write_text

RUN = make_spec().name
FOLDER = f"runs/{RUN}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with latents, a trained run, samples, a score and a table."""
    import numpy as np
    from helpers.digits import DIGITS, some_digits

    from mpdit.data.encode import encode

    folder = tmp_path_factory.mktemp("made")
    results, made_up = folder / "results", write_latents(folder / "latents")
    assert train_in(results / FOLDER, make_spec(), made_up) == 0
    encode(some_digits(20), DIGITS, results / "latents" / "digits-1")
    with sample_writer(results / FOLDER / "samples/p/samples.npz", np.zeros(1, np.int64)) as append:
        append(np.zeros((1, 4, 4, 3), np.uint8))
    write_csv(results / FOLDER / "samples/p/fid-x.csv", ("run", "fid"), [{"run": RUN, "fid": 1.0}])
    write_text(results / "table1.md", "a table\n")
    return results


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "results")


def found(results):
    verified = Verified()
    return [str(damage) for damage in verify(results, verified)], verified


def test_all_that_is_written_is_sealed_and_intact(results):
    lines, verified = found(results)
    assert lines == [] and verified.damaged == 0 and verified.unsealed == []
    files = [path for path in results.rglob("[!.]*") if path.is_file() and path.parent.name != "logs"]
    unchecked = {"spec.json", "train.log", "lock"}
    assert verified.files == len([path for path in files if path.name not in unchecked]) > 15
    assert verified.size > 10_000


def change(field):
    """Another value of a field in a JSON file, with the seal of the old one."""

    def damage(path):
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | {field: 0.5}))

    return damage


CHANGED = "its content is not what was written"
SEAL = "its content does not match its seal"
LATENTS = "delete results/latents/digits-1 and run `snakemake --cores all results/latents/digits-1/manifest.json`"
TRAIN = f"run `snakemake --cores all results/{FOLDER}/trained.json`"
# File: (damage, problem, remedy); a remedy that begins with `results` names a checkpoint that holds the file.
DAMAGES = {
    "latents/digits-1/mean.npy": (flip_bit, CHANGED, LATENTS),
    "latents/digits-1/labels.npy": (lambda path: path.unlink(), "no such file", LATENTS),
    "latents/digits-1/manifest.json": (change("channel_mean"), CHANGED, LATENTS),
    f"{FOLDER}/trained.json": (
        change("loss"), CHANGED, f"delete it and {TRAIN}, which goes on from the last checkpoint",
    ),
    f"{FOLDER}/training.csv": (
        lambda path: cut_line(path, 1), CHANGED,
        f"delete it and trained.json, then {TRAIN}, which goes on from the last checkpoint",
    ),
    f"{FOLDER}/checkpoints/step-00000008.safetensors": (
        flip_bit, SEAL, "delete it: training goes on from the checkpoint before it, or from the start",
    ),
    f"{FOLDER}/snapshots/step-00000004-width-0.050.safetensors": (
        lambda path: path.unlink(), "no such file",
        f"restore it from a copy, or train the run again: delete results/{FOLDER} and {TRAIN}",
    ),
    f"{FOLDER}/snapshots/step-00000004-width-0.100.safetensors": (
        lambda path: shutil.copy(path.with_name("step-00000008-width-0.100.safetensors"), path),
        "holds the model of step 8, must be of step 4",
        f"restore it from a copy, or train the run again: delete results/{FOLDER} and {TRAIN}",
    ),
    f"{FOLDER}/snapshots/step-00000012-width-0.050.safetensors": (
        flip_bit, SEAL, "step-00000012.safetensors holds it, and the next command that needs it writes it again",
    ),
    f"{FOLDER}/model.safetensors": (
        flip_bit, SEAL, f"delete it and trained.json, then {TRAIN}, which goes on from the last checkpoint",
    ),
    f"{FOLDER}/samples/p/samples.npz": (
        flip_bit, CHANGED, f"delete it and run `snakemake --cores all results/{FOLDER}/samples/p/samples.npz`",
    ),
    f"{FOLDER}/samples/p/fid-x.csv": (
        lambda path: cut_line(path, 1), CHANGED,
        f"delete it and run `snakemake --cores all results/{FOLDER}/samples/p/fid-x.csv`",
    ),
    "table1.md": (flip_bit, CHANGED, "delete it and run `snakemake --cores all results/table1.md`"),
}  # fmt: skip


@pytest.mark.parametrize("file", DAMAGES)
def test_each_damage_is_one_line_with_its_way_out(results, file):
    damage, problem, remedy = DAMAGES[file]
    damage(results / file)
    (line,), verified = found(results)
    assert line.startswith(f"{results / file}: {problem}; ") and line.endswith(remedy)
    assert verified.damaged == 1


def test_all_damages_are_found_at_once(results):
    files = [file for file in DAMAGES if not file.endswith("manifest.json")]  # which says what else there must be
    for file in files:
        DAMAGES[file][0](results / file)
    lines, verified = found(results)
    assert {line.partition(": ")[0] for line in lines} == {str(results / file) for file in files}
    assert verified.damaged == len(lines)


def test_a_run_in_a_folder_of_another_name_and_a_changed_spec_are_found(results):
    spec = results / FOLDER / "spec.json"
    values = json.loads(spec.read_text())
    spec.write_text(json.dumps(values | {"seed": 3}))
    (line,), _ = found(results)
    assert line.startswith(f"{spec}: run: expected ")
    spec.write_text(json.dumps(values))
    other = results / "runs" / "another-name"
    (results / FOLDER).rename(other)
    lines, _ = found(results)
    assert any(f"{other}/spec.json: is of run {RUN}, whose name its folder must have; " in line for line in lines)
    assert all("holds the model of run" in line or "spec.json" in line for line in lines)


def test_an_outcome_of_another_run_is_found(results):
    rewrite_json(results / FOLDER / "trained.json", run="another")
    (line,), _ = found(results)
    assert f"trained.json: is of run another, must be of {RUN}; " in line


def test_files_without_a_seal_are_counted(results):
    path = results / "notes.txt"
    path.write_text("by hand")
    lines, verified = found(results)
    assert (lines, verified.unsealed) == ([], [path])
    with pytest.raises(UserError, match="no such folder; expected the results of a study"):
        found(results / "nowhere")
