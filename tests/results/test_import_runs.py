"""Run folders of another machine: what is taken in, what is refused, and that nothing here is lost by it."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import yaml
from helpers.made_up_runs import write_run

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.system.lock import exclusive

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
BASELINE, OURS = Experiment(CONFIG).runs.values()


@pytest.fixture
def machines(tmp_path):
    """Here: no run. There: A and E as they were trained, E with files that are of no use elsewhere."""
    for entry, run in zip(Experiment(CONFIG).plan("table1")["runs"], (BASELINE, OURS), strict=True):
        folder = write_run(tmp_path / "there", entry)
        (folder / "spec.json").write_text(json.dumps(run.to_json()))
        for name in ("snapshots/ema.safetensors", "checkpoints/step-100.safetensors", "model.safetensors"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
    for junk in ("lock", ".trained.77.part.json", "core", "checkpoints/.step-100.part.safetensors"):
        (folder / junk).write_text("")
    (tmp_path / "here").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def take_in(machines, *runs, more=()) -> int:
    folders = [machines / "there" / (run if isinstance(run, str) else run.name) for run in runs]
    words = ["import", *folders, "--runs", machines / "here", "--latents", machines / "latents"]
    words += ["--configuration", machines / "config.yaml", *more]
    return main([str(word) for word in words])


def refused(machines, capsys, run=OURS, more=()) -> str:
    """The one line that says why; what is here must be as it was."""
    before = files(machines / "here")
    capsys.readouterr()
    assert take_in(machines, run, more=more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert files(machines / "here") == before
    return err.removeprefix("mpdit import: ").strip().replace(str(machines), ".")


def files(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change(path, **changes) -> None:
    """Set values of a JSON file, or of the one row of a CSV."""
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


def test_what_is_of_use_is_copied_and_the_rest_is_not(machines, capsys):
    assert take_in(machines, BASELINE, OURS) == 0
    theirs, ours = files(machines / "there" / OURS.name), files(machines / "here" / OURS.name)
    junk = {str(path) for path in theirs if path not in ours}
    assert junk == {".trained.77.part.json", "core", "checkpoints/.step-100.part.safetensors"}
    assert {path: ours[path] for path in ours if path.name != "lock"} == {
        path: theirs[path] for path in theirs if path.name != "lock" and str(path) not in junk
    }
    assert sorted(path.name for path in (machines / "here").iterdir()) == sorted([BASELINE.name, OURS.name])
    assert f"{OURS.name}: trained, step 100, " in capsys.readouterr().out
    assert take_in(machines, OURS) == 0
    assert "is here already, the same: nothing taken in" in capsys.readouterr().out


def test_no_output_is_older_than_what_it_was_made_from(machines):
    assert take_in(machines, OURS) == 0
    folder = machines / "here" / OURS.name
    chain = ["spec.json", "trained.json", "magnitudes.csv"], ["trained.json", "samples.npz", score_of(machines).name]
    for names in chain:
        times = [next(folder.rglob(name)).stat().st_mtime for name in names]
        assert times == sorted(set(times))


def test_the_spec_that_is_here_stays_and_longer_training_goes_on(machines):
    spec = machines / "here" / OURS.name / "spec.json"
    spec.parent.mkdir()
    longer = OURS.to_json()
    longer["training"] = longer["training"] | {"steps": 200}
    for wanted, goes_on in ((OURS.to_json(), False), (longer, True)):
        shutil.rmtree(spec.parent)
        spec.parent.mkdir()
        spec.write_text(json.dumps(wanted))
        assert take_in(machines, OURS) == 0
        assert json.loads(spec.read_text()) == wanted
        assert (spec.stat().st_mtime > spec.with_name("trained.json").stat().st_mtime) == goes_on


def test_the_configuration_here_says_how_long_and_which_runs_it_shows(machines, capsys):
    config = {**CONFIG, "training": {**CONFIG["training"], "steps": 200}}
    config["experiments"] = {"table1": {**CONFIG["experiments"]["table1"], "config": "E"}}
    (machines / "config.yaml").write_text(yaml.safe_dump(config))
    assert take_in(machines, BASELINE, OURS) == 0
    spec = machines / "here" / OURS.name / "spec.json"
    assert json.loads(spec.read_text())["training"]["steps"] == 200
    assert spec.stat().st_mtime > spec.with_name("trained.json").stat().st_mtime
    assert f"{BASELINE.name}: is no run of this configuration" in capsys.readouterr().out


def test_a_run_of_another_definition_is_refused(machines, capsys):
    spec = machines / "there" / OURS.name / "spec.json"
    whole = OURS.to_json()

    def told(**changes):
        spec.write_text(json.dumps(whole | changes))
        return refused(machines, capsys)

    where = f"./there/{OURS.name}/spec.json"
    other = replace(OURS, fields=replace(OURS.fields, activation="silu"))
    assert told(**other.to_json()) == (
        f"{where}: activation of Config E is 'silu': must be 'mp_silu', as it is defined here"
    )
    assert told(config="Z").startswith(f"{where}: run: expected DiT-Nano-2-Z-")
    assert told(lr=-1).startswith(f"{where}: lr: expected a number above 0, got -1")
    assert told(seed=1).startswith(f"{where}: run: expected DiT-Nano-2-E-scale_shift-lr0.02-seed1-")
    assert told(training={"steps": 3}).startswith(f"{where}: training.batch_size: missing; expected a spec.json")
    assert told(training=whole["training"] | {"batch_size": 0}).startswith(
        f"{where}: training.batch_size: expected a whole number of at least 1, got 0"
    )
    spec.write_text("{}")
    assert refused(machines, capsys) == f"{where}: run: missing; expected a text"
    spec.unlink()
    assert refused(machines, capsys) == f"{where}: no such file"
    (machines / "there" / BASELINE.name).rename(machines / "there/copy")
    assert refused(machines, capsys, "copy") == f"./there/copy: must be named {BASELINE.name}, as its spec.json says"


def test_a_run_that_has_not_ended_or_is_another_is_refused(machines, capsys):
    trained = machines / "there" / OURS.name / "trained.json"
    change(trained, run=BASELINE.name)
    assert "trained.json: is of run DiT-Nano-2-A-" in refused(machines, capsys)
    change(trained, run=OURS.name, status="training")
    assert "trained.json: status is 'training': must be trained or diverged" in refused(machines, capsys)
    trained.unlink()
    assert refused(machines, capsys) == f"./there/{OURS.name}/trained.json: no such file"


def test_scores_of_another_protocol_or_run_than_their_folder_are_refused(machines, capsys):
    score = score_of(machines)
    for changes, words in (
        ({"count": 500}, "its row is of ddpm50-guidance1-n500-ema0.05-step100-seed0: must be of what its folder"),
        ({"ema_width": "none"}, "its row is of ddpm50-guidance1-n1000-plain-step100-seed0: must be"),
        ({"lr": 0.5}, "lr is 0.5: must be 0.02, as in spec.json"),
        ({"run": BASELINE.name}, f"is of run {BASELINE.name}: must be of {OURS.name}"),
        ({"fid": "nan"}, "found nan: must be a finite number"),
        ({"sampling_seed": "x"}, "must be a score that `mpdit score` wrote"),
    ):
        whole = score.read_text()
        change(score, **changes)
        assert words in refused(machines, capsys)
        score.write_text(whole)


def test_latents_must_be_those_here_if_there_are_any(machines, capsys):
    manifest = machines / "latents" / OURS.data.folder_name / "manifest.json"
    assert take_in(machines, BASELINE) == 0
    assert "its latents, abababababab, are not here to compare" in capsys.readouterr().out
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"fingerprint": "cd" * 32}))
    assert "trained.json: latents abababababab: must be those of " in refused(machines, capsys)
    manifest.write_text(json.dumps({"fingerprint": "ab" * 32}))
    assert take_in(machines, OURS) == 0
    assert "latents" not in capsys.readouterr().out


@pytest.mark.parametrize("key", ["features_hash", "reference_hash"])
def test_a_score_by_other_features_is_left_out_to_be_made_anew(machines, capsys, key):
    assert take_in(machines, BASELINE) == 0
    change(score_of(machines), **{key: "0ther"})
    assert take_in(machines, OURS) == 0
    out = capsys.readouterr().out
    assert f"{key} is 0ther, here " in out
    assert "Snakemake scores anew" in out
    folder = machines / "here" / OURS.name
    assert list(folder.glob("samples/*/samples.npz"))
    assert not list(folder.glob("samples/*/fid-*.csv"))


def test_a_run_that_is_here_stays_unless_told_otherwise(machines, capsys):
    assert take_in(machines, OURS) == 0
    here = machines / "here" / OURS.name
    change(here / "trained.json", step=80, loss=0.25)
    (here / "extra").write_text("mine")
    told = refused(machines, capsys)
    assert told == (
        f"./there/{OURS.name}: trained at step 100, but the run is here already, trained at step 80, by another "
        f"training: must be given --replace to take its place"
    )
    (here / "trained.json").unlink()
    assert "is here already, begun and not ended: must be given --replace" in refused(machines, capsys)
    assert take_in(machines, OURS, more=["--replace"]) == 0
    assert json.loads((here / "trained.json").read_text())["step"] == 100
    assert not (here / "extra").exists()


def test_what_the_same_training_has_more_of_joins_it(machines, capsys):
    assert take_in(machines, OURS) == 0
    score = score_of(machines, side="here")
    score.unlink()
    other = machines / "here" / OURS.name / "magnitudes.csv"
    other.write_text("of here")
    capsys.readouterr()
    assert take_in(machines, OURS) == 0
    assert " 1 files taken in" in capsys.readouterr().out
    assert score.exists()
    assert other.read_text() == "of here"


def test_nothing_is_done_to_a_run_that_someone_holds(machines, capsys):
    with exclusive(machines / "here" / OURS.name / "lock"):
        assert "held by process" in refused(machines, capsys)


def test_a_copy_that_fails_leaves_nothing(machines, monkeypatch):
    real, copied = shutil.copyfile, []

    def fails(source, goal):
        copied.append(goal)
        if len(copied) > 4:
            raise OSError(28, "No space left on device")
        return real(source, goal)

    monkeypatch.setattr(shutil, "copyfile", fails)
    with pytest.raises(OSError, match="No space"):
        take_in(machines, OURS)
    assert list((machines / "here").iterdir()) == []


def test_one_refusal_does_not_hold_up_the_others(machines, capsys):
    (machines / "there" / BASELINE.name / "trained.json").unlink()
    assert take_in(machines, BASELINE, OURS) == 2
    assert [path.name for path in (machines / "here").iterdir()] == [OURS.name]
