"""From held-out losses of tuning runs to the rates that are tried next and the rates.csv of what was found."""

import csv
import json
import math

import pytest
from helpers.made_up_runs import outcome

from mpdit.__main__ import main
from mpdit.experiment import Experiment
from mpdit.experiment.columns import HELDOUT, RATES
from mpdit.experiment.rates import how_tuned
from mpdit.experiment.tuning import FIRST_RUNGS
from mpdit.results.tables import read_table

CONFIG = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8, "holdout": 20},
    "training": {"steps": 100, "batch_size": 8, "snapshots": 4},
    "tuning": {"rates": 8, "seeds": [1000, 1001], "start": {"A": 0.01, "E": 0.04}, "ema_widths": [0.05, 0.1]},
    "learning_rates": "results/rates.csv",
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": 0},
    },
}
OPTIMA = {"A": 0.01, "E": 0.16}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A working folder without rates; `experiment` as `mpdit tune` reads it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    return Experiment(CONFIG, untuned=True)


def finish(run, folder, loss) -> None:
    """A finished tuning run, or one that diverged where its loss is infinite."""
    status = "diverged" if math.isinf(loss) else "trained"
    (folder / run.name).mkdir(parents=True)
    (folder / run.name / "trained.json").write_text(json.dumps(outcome(run.name) | {"status": status}))
    rows = [
        {"run": run.name, "step": 100, "ema_width": width, "part": part, "images": 10, "draws": 32,
         "loss": loss + (width == 0.05) * 0.01 + (part == "report") * 5, "loss_q1": 1, "loss_q2": 1, "loss_q3": 1,
         "loss_q4": 1, "variational": 1, "heldout": "ff"}
        for width in (0.05, 0.1) for part in ("tune", "report")
    ]  # fmt: skip
    with open(folder / run.name / "heldout.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, HELDOUT.names)
        writer.writeheader()
        writer.writerows([] if math.isinf(loss) else rows)


def search(study, tmp_path, loss) -> dict[str, list[int]]:
    """Run every round by the command line, finishing the runs that it asks for; the rungs tried, by configuration."""
    tried: dict[str, list[int]] = {}
    for setting in study.tuning_settings():
        for number in range(4):
            output = tmp_path / "results/tuning" / setting.name / f"round-{number}.json"
            words = ["tune", "config.yaml", "--setting", setting.name, "--round", str(number), "--output", str(output)]
            assert main(words) == 0
            rungs = json.loads(output.read_text())["rungs"]
            tried.setdefault(setting.template.config, []).extend(rungs)
            for run in setting.runs(rungs):
                finish(run, tmp_path / "results/runs", loss(run))
    return tried


def parabola(run) -> float:
    return 1 + math.log2(run.lr / OPTIMA[run.config]) ** 2 + 1e-3 * (run.seed == 1001)


def test_every_search_spends_the_same_budget_and_its_outcome_is_the_studys_rates(study, tmp_path, capsys):
    tried = search(study, tmp_path, parabola)
    assert {config: len(rungs) for config, rungs in tried.items()} == {"A": 8, "E": 8}
    assert tried["A"][:5] == tried["E"][:5] == list(FIRST_RUNGS)
    assert main(["tune", "config.yaml", "--output", "results/rates.csv"]) == 0
    assert "2 searches of 8 rates each" in capsys.readouterr().out
    table = read_table("results/rates.csv", RATES)
    assert len(table) == 2 * 8 * 2
    chosen = table[table["chosen"]].set_index("config")
    assert chosen["lr"].to_dict() == OPTIMA
    assert chosen["ema_width"].to_dict() == {"A": 0.1, "E": 0.1}
    assert not table["at_edge"].any() and (table["seeds"] == 2).all()
    tuned = Experiment(CONFIG)
    assert {run.config: run.lr for run in tuned.runs.values()} == OPTIMA
    assert {how_tuned(run, tuned.rates) for run in tuned.runs.values()} == {"tuned"}
    assert [setting.name for setting in tuned.tuning_settings()] == [
        setting.name for setting in study.tuning_settings()
    ]


def test_a_search_that_ends_at_an_edge_says_so(study, tmp_path, capsys):
    search(study, tmp_path, lambda run: run.lr if run.config == "E" else parabola(run))
    assert main(["tune", "config.yaml", "--output", "results/rates.csv"]) == 0
    assert "DiT-Nano/2 E scale_shift: the best rate is at an edge" in capsys.readouterr().out
    tuned = Experiment(CONFIG)
    assert {run.config: how_tuned(run, tuned.rates) for run in tuned.runs.values()} == {"A": "tuned", "E": "edge"}


def test_a_rate_at_which_one_seed_diverges_is_not_chosen(study, tmp_path):
    search(study, tmp_path, lambda run: math.inf if run.lr >= 0.16 and run.seed == 1001 else parabola(run))
    main(["tune", "config.yaml", "--output", "results/rates.csv"])
    table = read_table("results/rates.csv", RATES)
    diverged = table[table["lr"] >= 0.16]
    assert len(diverged) and (diverged["diverged"] == 1).all() and diverged["loss"].isna().all()
    assert not diverged["chosen"].any()
    assert table.loc[(table["config"] == "E") & table["chosen"], "lr"].item() == 0.1131


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--setting", "nobody", "--round", "0"], "--setting: unknown 'nobody'; expected one of DiT-Nano-2-A-scale_"),
        (["--round", "0"], "--setting and --round: give both for the next round, or neither for rates.csv"),
        ([], "no such file"),
    ],
)
def test_mistakes_are_one_line(study, capsys, words, message):
    assert main(["tune", "config.yaml", *words, "--output", "out"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_loss_that_is_missing_names_the_file(study, tmp_path, capsys):
    search(study, tmp_path, parabola)
    path = next((tmp_path / "results/runs").glob("*/heldout.csv"))
    path.write_text(",".join(HELDOUT.names) + "\n")
    assert main(["tune", "config.yaml", "--output", "results/rates.csv"]) == 2
    assert (
        f"{path.relative_to(tmp_path)}: no loss of the tuning part at EMA width 0.05, step 100"
        in capsys.readouterr().err
    )
