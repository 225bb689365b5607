"""Run folders from another machine: what is imported, what is refused, and that nothing here is lost by it."""

import csv
import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from helpers.damage import flip_bit, rewrite_json
from helpers.made_up_runs import PROTOCOL, SCORE_FILE, write_losses, write_run
from helpers.manifests import MANIFEST

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.experiment.parts import register
from mpdit.system.files import write_seals
from mpdit.system.lock import exclusive
from mpdit.system.seals import Seal, seal_file, unsealed_note
from mpdit.training.sealed_tensors import save_sealed
from mpdit.training.snapshots import save_snapshot

CONFIG = {
    "data": {"name": "mnist8", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 128, "snapshots": 4},
    "sampling": {"steps": 50, "count": 1000},
    "scoring": {"features": "efficientnet-lite0"},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": 0},
    },
}
WEIGHTS = {"weight": torch.ones(3)}
BASELINE, OURS = Experiment(CONFIG).runs.values()


@pytest.fixture
def machines(tmp_path):
    """`here` without runs; `there` with A and E as they were trained, beside files that are of no use elsewhere.

    Those of A have no seals, as in version 0.1.
    """
    for entry, run in zip(Experiment(CONFIG).plan("table1")["runs"], (BASELINE, OURS), strict=True):
        folder = write_run(tmp_path / "there", entry)
        (folder / "spec.json").write_text(json.dumps(run.to_json()))
        for step, width in ((50, 0.05), (50, 0.1), (100, 0.05), (100, 0.1), (100, None)):
            save_snapshot(folder / "snapshots", step, width, WEIGHTS, metadata={"run": run.name})
        (folder / "checkpoints").mkdir()
        for name in ("checkpoints/step-00000100.safetensors", "model.safetensors"):
            save_sealed(WEIGHTS, folder / name, {})
        for name in ("config.json", f"samples/{PROTOCOL}/grid.png", f"samples/{PROTOCOL}/protocol.json"):
            (folder / name).write_text("{}")
        if run is OURS:
            for path in list(folder.rglob("*.*")):
                if path.suffix in (".csv", ".npz", ".png") or path.name == "config.json":
                    write_seals(path, [Seal.of_file(path)])
    for junk in ("lock", ".trained.77.part.json", "core", "checkpoints/.step-100.part.safetensors"):
        (folder / junk).write_text("")
    (tmp_path / "here").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def import_runs(machines, *runs, more=()) -> int:
    folders = [machines / "there" / (run if isinstance(run, str) else run.name) for run in runs]
    words = ["import", *folders, "--runs", machines / "here", "--latents", machines / "latents"]
    words += ["--configuration", machines / "config.yaml", *more]
    return main([str(word) for word in words])


def refusal(machines, capsys, run=OURS, more=()) -> str:
    """The one line that is printed when a run is refused; what is here must be as it was."""
    before = files(machines / "here")
    capsys.readouterr()
    assert import_runs(machines, run, more=more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert files(machines / "here") == before
    return err.removeprefix("mpdit import: ").strip().replace(str(machines), ".")


def files(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(path, **changes) -> None:
    """Set values of a JSON file, or of the one row of a CSV, which keeps no seal."""
    seal_file(path).unlink(missing_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return
    with open(path, newline="") as file:
        (row,) = csv.DictReader(file)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        writer.writeheader()
        writer.writerow(row | changes)


def score_of(machines, run=OURS, side="there"):
    (score,) = (machines / side / run.name).glob("samples/*/fid-*.csv")
    return score


def test_files_that_are_of_use_are_copied_and_others_are_not(machines, capsys):
    unsealed_note()  # of files that other tests have read
    assert import_runs(machines, BASELINE, OURS) == 0
    theirs, ours = files(machines / "there" / OURS.name), files(machines / "here" / OURS.name)
    junk = {str(path) for path in theirs if path not in ours}
    assert sum(path.suffix == ".seal" for path in ours) > 4
    assert junk == {".trained.77.part.json", "core", "checkpoints/.step-100.part.safetensors"}
    assert {path: ours[path] for path in ours if path.name != "lock"} == {
        path: theirs[path] for path in theirs if path.name != "lock" and str(path) not in junk
    }
    assert sorted(path.name for path in (machines / "here").iterdir()) == sorted([BASELINE.name, OURS.name])
    out, error = capsys.readouterr()
    assert f"{OURS.name}: trained, step 100, " in out
    assert f"{OURS.name}: left out, as no run has them: core\n" in out
    assert error.count("written without a seal") == 1 and BASELINE.name in error and OURS.name not in error
    assert import_runs(machines, OURS) == 0
    assert "is here already, with the same files: nothing imported" in capsys.readouterr().out


def test_no_output_is_older_than_what_it_was_made_from(machines):
    assert import_runs(machines, OURS) == 0
    folder = machines / "here" / OURS.name
    chain = ["spec.json", "trained.json", "magnitudes.csv"], ["trained.json", "samples.npz", score_of(machines).name]
    for names in chain:
        times = [next(folder.rglob(name)).stat().st_mtime for name in names]
        assert times == sorted(set(times))


def test_the_spec_that_is_here_stays_and_a_longer_training_continues(machines):
    spec = machines / "here" / OURS.name / "spec.json"
    spec.parent.mkdir()
    longer = OURS.to_json()
    longer["training"] = longer["training"] | {"steps": 200}
    for asked, continues in ((OURS.to_json(), False), (longer, True)):
        shutil.rmtree(spec.parent)
        spec.parent.mkdir()
        spec.write_text(json.dumps(asked))
        assert import_runs(machines, OURS) == 0
        assert json.loads(spec.read_text()) == asked
        assert (spec.stat().st_mtime > spec.with_name("trained.json").stat().st_mtime) == continues


def test_the_configuration_decides_how_long_runs_train_and_which_are_shown(machines, capsys):
    config = {**CONFIG, "training": {**CONFIG["training"], "steps": 200}}
    config["experiments"] = {"table1": {**CONFIG["experiments"]["table1"], "config": "E"}}
    (machines / "config.yaml").write_text(yaml.safe_dump(config))
    assert import_runs(machines, BASELINE, OURS) == 0
    spec = machines / "here" / OURS.name / "spec.json"
    assert json.loads(spec.read_text())["training"]["steps"] == 200
    assert spec.stat().st_mtime > spec.with_name("trained.json").stat().st_mtime
    assert f"{BASELINE.name}: is not among the runs of this configuration" in capsys.readouterr().out


def test_a_run_with_parts_of_another_study_or_version_is_refused(machines, capsys, registries):
    spec = machines / "there" / OURS.name / "spec.json"

    def message(version):
        run = replace(OURS, modulation="film", parts={"modulation": {"name": "film", "version": version}})
        spec.write_text(json.dumps(run.to_json()))
        return refusal(machines, capsys)

    where = f"./there/{OURS.name}/spec.json"
    assert message(1).startswith(f"{where}: modulation 'film': expected one of scale, ")
    register("modulation", "film", version=2)(lambda context: None)
    assert message(1).startswith(f"{where}: modulation 'film': made with version 1, but ")
    assert message(2).startswith(f"./there/{OURS.name}: must be named DiT-Nano-2-E-film-lr0.02-seed0-")


def test_a_run_that_is_defined_differently_is_refused(machines, capsys):
    spec = machines / "there" / OURS.name / "spec.json"
    whole = OURS.to_json()

    def message(**changes):
        spec.write_text(json.dumps(whole | changes))
        return refusal(machines, capsys)

    where = f"./there/{OURS.name}/spec.json"
    other = replace(OURS, fields=replace(OURS.fields, activation="silu"))
    assert message(**other.to_json()) == (
        f"{where}: activation of Config E is 'silu': must be 'mp_silu', as defined here"
    )
    assert message(config="Z").startswith(f"{where}: run: expected DiT-Nano-2-Z-")
    assert message(lr=-1).startswith(f"{where}: lr: expected a number above 0, got -1")
    assert message(seed=1).startswith(f"{where}: run: expected DiT-Nano-2-E-scale_shift-lr0.02-seed1-")
    assert message(training={"steps": 3}).startswith(f"{where}: training.batch_size: missing; expected a spec.json")
    assert message(training=whole["training"] | {"batch_size": 0}).startswith(
        f"{where}: training.batch_size: expected a whole number of at least 1, got 0"
    )
    spec.write_text("{}")
    assert refusal(machines, capsys) == f"{where}: run: missing; expected a text"
    spec.unlink()
    assert refusal(machines, capsys).startswith(f"./there/{OURS.name}: not complete: no spec.json; copy it again")
    (machines / "there" / BASELINE.name).rename(machines / "there/copy")
    assert refusal(machines, capsys, "copy") == f"./there/copy: must be named {BASELINE.name}, as its spec.json says"


def test_a_run_that_has_not_ended_and_the_outcome_of_another_run_are_refused(machines, capsys):
    trained = machines / "there" / OURS.name / "trained.json"
    change(trained, run=BASELINE.name)
    assert "trained.json: belongs to run DiT-Nano-2-A-" in refusal(machines, capsys)
    change(trained, run=OURS.name, status="training")
    assert "trained.json: status: expected trained or diverged, got 'training'" in refusal(machines, capsys)
    trained.unlink()
    assert "not complete: no trained.json; copy it again, once its training has ended" in refusal(machines, capsys)


def test_scores_of_another_protocol_or_run_than_their_folder_are_refused(machines, capsys):
    score = score_of(machines)
    for changes, words in (
        ({"count": 500}, "its row is of protocol ddpm50-guidance1-n500-ema0.05-step100-seed0: must be the one that"),
        ({"ema_width": "none"}, "its row is of protocol ddpm50-guidance1-n1000-plain-step100-seed0: must be"),
        ({"lr": 0.5}, "lr is 0.5: must be 0.02, as in spec.json"),
        ({"run": BASELINE.name}, f"belongs to run {BASELINE.name}: must belong to {OURS.name}"),
        ({"fid": "nan"}, "found nan: must be a finite number"),
        ({"sampling_seed": "x"}, "must be a score that `mpdit score` wrote"),
    ):
        whole = score.read_text()
        change(score, **changes)
        assert words in refusal(machines, capsys)
        score.write_text(whole)


def test_the_latents_must_be_those_that_are_here_if_there_are_any(machines, capsys):
    manifest = machines / "latents" / OURS.data.folder_name / "manifest.json"
    assert import_runs(machines, BASELINE) == 0
    assert "its latents, abababababab, are not here to compare" in capsys.readouterr().out
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(MANIFEST | {"fingerprint": "cd" * 32}))
    assert "trained.json: latents abababababab: must be those of " in refusal(machines, capsys)
    manifest.write_text(json.dumps(MANIFEST | {"fingerprint": "ab" * 32}))
    assert import_runs(machines, OURS) == 0
    assert "latents" not in capsys.readouterr().out


@pytest.mark.parametrize("key", ["features_hash", "reference_hash"])
def test_a_score_by_other_features_is_left_out_to_be_made_again(machines, capsys, key):
    assert import_runs(machines, BASELINE) == 0
    change(score_of(machines), **{key: "0ther"})
    assert import_runs(machines, OURS) == 0
    out = capsys.readouterr().out
    assert f"{key} is 0ther, here " in out
    assert "Snakemake will make it again" in out
    folder = machines / "here" / OURS.name
    assert list(folder.glob("samples/*/samples.npz"))
    assert not list(folder.glob("samples/*/fid-*.csv"))


@pytest.mark.parametrize(("column", "value"), [("heldout", "0ther"), ("draws", 64)])
def test_held_out_losses_on_other_images_or_draws_are_left_out_to_be_made_again(machines, capsys, column, value):
    for run in (BASELINE, OURS):
        write_losses(machines / "there" / run.name)
    assert import_runs(machines, BASELINE) == 0
    here = machines / "here"
    assert (here / BASELINE.name / "heldout_images.csv").exists()
    change(machines / "there" / OURS.name / "heldout.csv", **{column: value})
    assert import_runs(machines, OURS) == 0
    out = capsys.readouterr().out
    assert f"heldout.csv left out, Snakemake will make it again: {column} is {value}, here " in out
    assert not list((here / OURS.name).glob("heldout*"))
    assert (here / OURS.name / "magnitudes.csv").exists()


def test_held_out_losses_that_cannot_be_trusted_are_refused(machines, capsys):
    write_losses(machines / "there" / OURS.name)
    change(machines / "there" / OURS.name / "heldout.csv", loss="nan")
    assert "heldout.csv: loss of run" in refusal(machines, capsys)


def test_a_run_that_is_here_stays_without_replace(machines, capsys):
    assert import_runs(machines, OURS) == 0
    here = machines / "here" / OURS.name
    change(here / "trained.json", step=80, loss=0.25)
    (here / "extra").write_text("mine")
    assert refusal(machines, capsys) == (
        f"./there/{OURS.name}: trained at step 100, but the run is here already, trained at step 80, by another "
        f"training: use --replace to put it in that run's place"
    )
    (here / "trained.json").write_text("{")
    assert "is here already, with a trained.json that cannot be read: use --replace" in refusal(machines, capsys)
    (here / "trained.json").unlink()
    assert "is here already, begun and not ended: use --replace" in refusal(machines, capsys)
    assert import_runs(machines, OURS, more=["--replace"]) == 0
    assert json.loads((here / "trained.json").read_text())["step"] == 100
    assert not (here / "extra").exists()


def test_files_that_the_same_training_has_more_of_are_added(machines, capsys):
    assert import_runs(machines, OURS) == 0
    score = score_of(machines, side="here")
    score.unlink()
    other = machines / "here" / OURS.name / "magnitudes.csv"
    other.write_text("ours")
    capsys.readouterr()
    assert import_runs(machines, OURS) == 0
    assert " 1 file imported" in capsys.readouterr().out
    assert score.exists()
    assert other.read_text() == "ours"


def test_a_run_that_another_process_holds_is_left_alone(machines, capsys):
    with exclusive(machines / "here" / OURS.name / "lock"):
        assert "held by process" in refusal(machines, capsys)


def test_a_copy_that_fails_leaves_nothing(machines, monkeypatch, capsys):
    real, copied = shutil.copyfileobj, []

    def fails(source, goal):
        copied.append(goal)
        if len(copied) > 4:
            raise OSError(28, "No space left on device")
        return real(source, goal)

    monkeypatch.setattr(shutil, "copyfileobj", fails)
    assert "no space left on device" in refusal(machines, capsys)
    assert list((machines / "here").iterdir()) == []


def test_a_refusal_does_not_keep_the_others_out(machines, capsys):
    (machines / "there" / BASELINE.name / "trained.json").unlink()
    assert import_runs(machines, BASELINE, OURS) == 2
    assert [path.name for path in (machines / "here").iterdir()] == [OURS.name]


# What a copy may have suffered, and what somebody may have put into it

DAMAGED = (
    "trained.json", "training.csv", "magnitudes.csv", "config.json", "model.safetensors",
    "snapshots/step-00000050-width-0.050.safetensors", "checkpoints/step-00000100.safetensors",
    f"samples/{PROTOCOL}/samples.npz", f"samples/{PROTOCOL}/grid.png", f"samples/{PROTOCOL}/{SCORE_FILE}",
)  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_flipped_bit_anywhere_is_refused_before_anything_is_copied(machines, capsys, name):
    rewrite_json(machines / "there" / OURS.name / "trained.json")  # which seals it
    flip_bit(machines / "there" / OURS.name / name)
    message = refusal(machines, capsys)
    assert message.startswith(f"./there/{OURS.name}/{name}: damaged: ")
    assert message.endswith("; copy it again from where the run was trained")


def test_a_snapshot_of_another_run_or_step_is_refused(machines, capsys):
    names = "step-00000050-width-0.050.safetensors", "step-00000100-width-0.050.safetensors"
    ours, theirs = (machines / "there" / run.name / "snapshots" for run in (OURS, BASELINE))
    shutil.copyfile(ours / names[0], ours / names[1])
    assert f"{names[1]}: holds the model of step 50, must be of step 100; copy it again" in refusal(machines, capsys)
    shutil.copyfile(theirs / names[1], ours / names[1])
    assert f"{names[1]}: holds the model of run {BASELINE.name}, must be of run " in refusal(machines, capsys)


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (["training.csv"], "training.csv"),
        (["magnitudes.csv"], "magnitudes.csv"),  # its seal is there
        (["model.safetensors"], "model.safetensors"),
        (["snapshots/step-00000050-width-0.100.safetensors"], "snapshots/step-00000050-width-0.100.safetensors"),
        (["snapshots/step-00000100-plain.safetensors"], "snapshots/step-00000100-plain.safetensors"),
        ([f"samples/{PROTOCOL}/protocol.json"], f"samples/{PROTOCOL}/protocol.json"),
        ([f"samples/{PROTOCOL}/samples.npz", "training.csv"], f"samples/{PROTOCOL}/samples.npz, training.csv"),
    ],
)
def test_an_interrupted_copy_is_refused_with_what_is_missing(machines, capsys, gone, missing):
    for name in gone:
        (machines / "there" / OURS.name / name).unlink()
    assert refusal(machines, capsys) == (
        f"./there/{OURS.name}: not complete: no {missing}; copy it again, once its training has ended"
    )


def test_snapshots_and_samples_may_be_left_behind_as_a_whole(machines, capsys):
    folder = machines / "there" / OURS.name
    for name in ("snapshots", "samples", "checkpoints"):
        shutil.rmtree(folder / name)
    assert import_runs(machines, OURS) == 0
    assert "has no snapshots: no more images can be drawn from it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("training.csv", "/etc/passwd"),
        ("train.log", "/dev/zero"),
        ("model.safetensors", "../elsewhere"),
        (f"samples/{PROTOCOL}/grid.png", "/dev/zero"),
        (".magnitudes.csv.seal", "/dev/zero"),
        ("snapshots", "../elsewhere"),
        ("samples/another", "/"),
        ("spec.json", "spec"),
    ],
)
def test_links_are_not_followed(machines, capsys, name, target):
    path = machines / "there" / OURS.name / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    assert refusal(machines, capsys) == f"./there/{OURS.name}: {name}: a link; expected a copy (rsync --copy-links)"


def test_a_pipe_is_not_read(machines, capsys):
    os.mkfifo(machines / "there" / OURS.name / "heldout.csv")
    assert ": heldout.csv: not a regular file; expected a copy" in refusal(machines, capsys)


def test_what_no_run_has_is_named_and_left_behind(machines, capsys):
    folder = machines / "there" / OURS.name
    for name in ("notes.txt", "snapshots/best.pt", "samples/README", "a b\nc"):
        (folder / name).write_text("")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "deep/deeper").mkdir(parents=True)
    assert import_runs(machines, OURS) == 0
    names = "a b\\nc, core, deep, link, notes.txt and 2 more"
    assert f"{OURS.name}: left out, as no run has them: {names}\n" in capsys.readouterr().out
    assert not list((machines / "here").rglob("link")) and not list((machines / "here").rglob("best.pt"))


def test_what_is_no_folder_does_not_keep_the_runs_out(machines, capsys):
    (machines / "there/notes.txt").write_text("")
    assert import_runs(machines, "notes.txt", "nowhere", OURS) == 2
    assert [path.name for path in (machines / "here").iterdir()] == [OURS.name]
    error = capsys.readouterr().err.replace(str(machines), ".")
    assert "./there/notes.txt: not a folder; expected one such as results/runs/RUN\n" in error
    assert "./there/nowhere: No such file or directory; expected a folder such as results/runs/RUN\n" in error
