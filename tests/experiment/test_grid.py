"""The grid: names, identities, protocols, and one clear line for each mistake."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mpdit.experiment import ladder as configs
from mpdit.experiment import names as names_module
from mpdit.experiment.grid import Experiment
from mpdit.experiment.rates import how_tuned
from mpdit.experiment.records import PlannedRun
from mpdit.experiment.run_spec import RunSpec
from mpdit.experiment.tuning import rungs
from mpdit.system.errors import UserError

ROOT = Path(__file__).parents[2]

SMALL = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8, "snapshots": 4},
    "learning_rates": {"A": "1e-3", "E": 0.02},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": ["scale_shift"], "seed": [0]},
        "table2": {"model": "DiT-Nano/2", "config": "E", "modulation": ["scale_shift", "rotate"], "seed": [0, 1]},
    },
}


def changed(**changes) -> dict:
    """SMALL with `section__field=value` set; a value of ... removes the field."""
    config = copy.deepcopy(SMALL)
    for path, value in changes.items():
        *sections, field = path.split("__")
        at = config
        for section in sections:
            at = at[section]
        if value is ...:
            del at[field]
        else:
            at[field] = value
    return config


def names(**changes) -> set[str]:
    return set(Experiment(changed(**changes)).runs)


def test_union_of_blocks_holds_a_shared_run_once():
    experiment = Experiment(SMALL)
    assert len(experiment.blocks["table1"].runs) == 2
    assert len(experiment.blocks["table2"].runs) == 4
    assert len(experiment.runs) == 5
    assert [run["config"] for run in experiment.plan("table1", "table2")["runs"]] == ["A", "E", "E", "E", "E"]


def test_run_is_fully_resolved():
    run = next(run for run in Experiment(SMALL).runs.values() if run.config == "A")
    spec = run.to_json()
    assert spec["lr"] == 1e-3  # YAML reads 1e-3 as a text
    assert spec["fields"]["norm"] == "layer"
    assert spec["training"]["betas"] == [0.9, 0.99]
    assert spec["run"] == run.name
    assert run.name.startswith("DiT-Nano-2-A-scale_shift-lr0.001-seed0-")


def test_another_seed_adds_only_its_own_runs():
    assert names() < names(experiments__table1__seed=[0, 1])
    assert len(names(experiments__table1__seed=[0, 1]) - names()) == 1  # A with seed 1; table2 has E's


def test_rates_and_guidance_that_agree_in_six_digits_are_told_apart():
    rates = [0.001, 0.0010000001, 0.0070710678]
    experiment = Experiment(changed(experiments__table1__lr=rates, sampling={"guidance": 1.0000001}))
    assert {run.lr for run in experiment.blocks["table1"].runs} == set(rates)
    named = {name.split("-seed")[0].split("scale_shift-")[1] for name in experiment.runs if "-A-" in name}
    assert named == {"lr0.001", "lr0.0010000001", "lr0.0070710678"}
    assert {protocol.name.split("-")[1] for protocol in experiment.protocols.values()} == {"guidance1.0000001"}


def test_a_run_that_was_named_with_a_rounded_rate_is_read_under_its_name():
    (rounded,) = (run for run in Experiment(changed(learning_rates__A=0.00707107)).runs.values() if run.config == "A")
    spec = rounded.to_json() | {"lr": 0.0070710678}  # as versions before this one named it
    run = RunSpec.from_json(spec, "spec.json")
    assert (run.name, run.lr, run.to_json()) == (rounded.name, 0.0070710678, spec)


def test_another_rate_of_e_renames_only_e():
    before, after = names(), names(learning_rates__E=0.01)
    assert before & after == {name for name in before if "-A-" in name}


def test_steps_and_places_are_no_part_of_the_name():
    assert names() == names(training__steps=200)
    zipped = {"name": "digits", "resolution": 8, "source": "zip"}
    first, second = (names(data={**zipped, "path": path}) for path in ("here/a.zip", "there/b.zip"))
    assert first == second == names()


@pytest.mark.parametrize(
    "change",
    [
        {"training__batch_size": 16},
        {"training__precision": "float32"},
        {"data__resolution": 16},
        {"data__name": "others"},
        {"data__flips": "both"},
    ],
)
def test_anything_else_renames_every_run(change):
    assert not names() & names(**change)


def test_redefined_letter_renames_exactly_its_runs(monkeypatch):
    before = names()
    monkeypatch.setitem(configs.LADDER, "E", configs.replace(configs.LADDER["E"], pos_center="feature"))
    assert before & names() == {name for name in before if "-A-" in name}


def test_block_overrides_sampling_and_training():
    config = changed(experiments__table2__training={"steps": "50"}, experiments__table2__sampling={"seeds": [3, 4]})
    config["experiments"]["table2"]["seed"] = [1, 2]  # not the runs of table1
    table1, table2 = Experiment(config).blocks.values()
    assert [protocol.sampling_seed for protocol in table2.protocols] == [3, 4]
    assert {protocol.step for protocol in table2.protocols} == {50}
    assert {protocol.step for protocol in table1.protocols} == {100}


def test_protocols_differ_where_images_would():
    (protocol,) = Experiment(SMALL).blocks["table1"].protocols
    (other,) = Experiment(changed(sampling={"guidance": 1.5})).blocks["table1"].protocols
    (plain,) = Experiment(changed(sampling={"ema_width": None})).blocks["table1"].protocols
    assert len({protocol.name, other.name, plain.name}) == 3


PAPER = {
    "data": {"name": "imagenet128", "source": "folder", "path": "train", "resolution": 128, "autoencoder": "sd-vae"},
    "training": {},
    "learning_rates": {"A": 1e-4, "E": 1e-2},
    "experiments": {
        "table1": {"model": ["DiT-S/2"], "config": ["A", "E"], "modulation": ["scale_shift"], "seed": [0]},
        "learning_rate": {
            "model": ["DiT-S/2"], "config": ["E"], "modulation": ["scale_shift"], "seed": [0], "lr": [1e-4, 1e-2],
        },
    },
}  # fmt: skip


def standing(key: str, **changes) -> dict:
    """What the plan says of each run of PAPER with some sections replaced, by letter and rate."""
    plan = Experiment({**PAPER, **changes}).plan("table1", "learning_rate")
    return {(run["config"], run["lr"]): run[key] for run in plan["runs"]}


def test_the_plan_says_which_rate_is_the_letters_own():
    assert standing("standard_lr") == {("A", 1e-4): True, ("E", 1e-2): True, ("E", 1e-4): False}


def test_all_mistakes_of_a_phase_are_reported_at_once():
    config = changed(training__stepz=1, training__betas=[0.9], experiments__table1__lr=[0, "x"], learning_rates__Z=1)
    with pytest.raises(UserError) as error:
        Experiment(config)
    assert str(error.value).splitlines() == [
        "training.betas: expected a list of 2, each a number of at least 0 and below 1, got [0.9]",
        "training: unknown key 'stepz' (did you mean 'steps'?); expected one of steps, batch_size, schedule, "
        "warmup_steps, decay_start, betas, label_dropout, gradient_clip, precision, ema_widths, snapshots, "
        "snapshot_dtype",
        "learning_rates: unknown key 'Z'; expected a configuration (E), or model, configuration and modulation "
        "(DiT-S/2 E scale)",
        "experiments.table1.lr[0]: expected a number above 0, got 0",
        "experiments.table1.lr[1]: expected a number above 0, got 'x'",
    ]


def test_checks_across_fields_follow_and_are_reported_at_once():
    config = changed(learning_rates={}, training__snapshots=101, data__path="x")
    with pytest.raises(UserError) as error:
        Experiment(config)
    assert str(error.value).splitlines() == [
        "data.path: expected null for the built-in source mnist, got 'x'",
        "learning_rates.A: missing; experiments.table1 names no lr, so it needs a number above 0",
        "learning_rates.E: missing; experiments.table1 names no lr, so it needs a number above 0",
        "training.snapshots: expected at most training.steps, which is 100, got 101",
        "learning_rates.E: missing; experiments.table2 names no lr, so it needs a number above 0",
    ]


def test_a_spec_is_read_back_as_the_same_run(tmp_path):
    for run in Experiment(SMALL).runs.values():
        (tmp_path / "spec.json").write_text(json.dumps(run.to_json()))
        assert RunSpec.read(tmp_path / "spec.json") == run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": ...}, "spec.json: seed: missing; expected a whole number of at least 0"),
        ({"lr": "fast"}, "spec.json: lr: expected a number above 0, got 'fast'"),
        ({"training": {"steps": 100}}, "spec.json: training.batch_size: missing; expected a spec.json that the"),
        (
            {"fields": {"norm": "layer"}},
            "spec.json: config fields \\['block', 'norm'\\]: must be exactly attention, weights",
        ),
        ({"run": "other"}, "spec.json: run: expected DiT-Nano-2-A-.*, the name of its fields, got 'other'"),
        ({"weights": 1}, "spec.json: .*unknown key 'weights'"),
    ],
)
def test_a_spec_that_is_not_whole_is_refused_in_one_line(tmp_path, change, message):
    spec = next(iter(Experiment(SMALL).runs.values())).to_json() | change
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({key: value for key, value in spec.items() if value is not ...}))
    with pytest.raises(UserError, match=message) as error:
        RunSpec.read(path)
    assert "\n" not in str(error.value)


def test_a_field_added_later_is_left_out_where_it_reproduces_earlier_behavior(monkeypatch):
    before = {run.name: run.to_json() for run in Experiment(SMALL).runs.values()}
    monkeypatch.setitem(names_module.ADDED_FIELDS["training"], "precision", "bfloat16")  # as if it had come after 0.1
    same = {run.name: run.to_json() for run in Experiment(SMALL).runs.values()}
    assert all("precision" not in spec["training"] for spec in same.values())
    assert all(RunSpec.from_json(spec, "spec.json").training.precision == "bfloat16" for spec in same.values())
    assert not names(training__precision="float32") & (set(same) | set(before))


def test_models_are_checked_by_name():
    with pytest.raises(
        UserError, match=r"unknown model 'DiT-Q/2': must be DiT-SIZE/PATCH with SIZE one of Nano, Slim, Micro"
    ):
        configs.parse_model("DiT-Q/2")
    assert configs.parse_model("DiT-S/8") == (configs.Size(12, 384, 6), 8)


def test_adjacent_letters_differ_in_exactly_the_declared_fields():
    for letter, (parent, declared, _) in configs.RUNGS.items():
        if parent is not None:
            ours, theirs = vars(configs.LADDER[letter]), vars(configs.LADDER[parent])
            assert {name: value for name, value in ours.items() if value != theirs[name]} == declared


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *sorted((ROOT / "workflow/config").glob("*.yaml"))])
def test_shipped_configurations_are_valid(path):
    assert Experiment(yaml.safe_load(path.read_text()), untuned=True).runs  # the rates may not be tuned yet


def test_parsing_imports_neither_torch_nor_matplotlib():
    code = "import sys, mpdit, mpdit.experiment.grid, mpdit.paper; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"


def scored_against(reference=None, resolution=8):
    return Experiment({
        "data": {"name": "digits", "source": "mnist", "resolution": resolution},
        "training": {"steps": 100}, "learning_rates": {"A": 1e-3},
        "scoring": {"features": "efficientnet-lite0", "reference": reference},
        "experiments": {"a": {"model": "DiT-Nano/4", "config": "A", "modulation": "scale_shift", "seed": 0}},
    })  # fmt: skip


def test_references_and_scores_are_named_by_what_the_reference_is_built_from():
    own_data, file = scored_against(), scored_against("x/adm.npz")
    experiments = [own_data, file, scored_against("y/adm.npz"), scored_against("x/adm.npz", resolution=16)]
    assert len({experiment.reference_name for experiment in experiments}) == 4
    assert len({experiment.score_file for experiment in experiments}) == 4
    assert own_data.reference_name == own_data.data_name and own_data.score_file == "fid-efficientnet-lite0.csv"
    assert file.reference_name.startswith("adm.npz-")
    assert file.score_file.startswith("fid-efficientnet-lite0-adm.npz-")
    assert scored_against("a b/train-*.parquet").reference_name.startswith("train_.parquet-")
    assert [run.name for run in own_data.runs.values()] == [run.name for run in file.runs.values()]
    assert (own_data.statistics, file.statistics, scored_against("a.zip").statistics) == ([], ["x/adm.npz"], [])


# Held-out pictures, tuned rates, paired sampling seeds


def test_pictures_withheld_from_training_rename_every_run_and_other_pictures_none():
    withheld = Experiment(changed(data__holdout=20))
    assert not set(withheld.runs) & names()
    assert withheld.heldout_name == f"{withheld.data_name}-heldout"
    zipped = {"name": "digits", "resolution": 8, "source": "zip", "path": "a.zip"}
    others = Experiment(changed(data={**zipped, "holdout": "validation.zip"}))
    assert set(others.runs) == names(data=zipped)
    assert others.heldout_name.startswith("digits-heldout-")
    assert Experiment(SMALL).heldout_name is None
    with pytest.raises(UserError, match=r"data.holdout: expected a whole number of at least 2"):
        Experiment(changed(data__holdout=1))


def test_paired_sampling_seeds_give_each_training_seed_its_own():
    block = Experiment(changed(experiments__table1__seed=[0, 5], sampling={"seeds": "paired"})).blocks["table1"]
    for run in block.runs:
        (protocol,) = block.protocols_of[run.name]
        assert protocol.sampling_seed == run.seed
    assert {protocol.sampling_seed for protocol in block.protocols} == {0, 5}


RATES_HEADER = "model,config,modulation,lr,data,identity,steps,ema_width,loss,seeds,diverged,chosen,at_edge\n"


def rates_file(path, experiment: Experiment, *, steps: int = 100, edge: str = "False", lr: float = 0.04) -> str:
    """A rates.csv that chooses a rate and a width for each setting of the experiment."""
    rows = {
        (run.model, run.config, run.modulation, run.tuning_identity): run
        for block in experiment.blocks.values()
        for run in block.runs
    }
    lines = [
        f"{model},{config},{kind},{value},digits,{identity},{steps},0.1,0.5,2,0,{value == lr},{edge}\n"
        for (model, config, kind, identity) in rows
        for value in (lr / 2, lr)
    ]
    path.write_text(RATES_HEADER + "".join(lines))
    return str(path)


def test_rates_of_a_file_are_taken_with_their_widths(tmp_path):
    path = rates_file(tmp_path / "rates.csv", Experiment(SMALL))
    experiment = Experiment(changed(learning_rates=path, sampling={"ema_width": "tuned"}))
    assert {run.lr for run in experiment.runs.values()} == {0.04}
    assert {protocol.ema_width for protocol in experiment.protocols.values()} == {0.1}
    assert {how_tuned(run, experiment.rates) for run in experiment.runs.values()} == {"tuned"}
    assert all(tuned.rates == 2 for tuned in experiment.rates.values())
    planned = experiment.planned_runs(*experiment.blocks)
    assert {(run.tuning, run.tuning_rates) for run in planned} == {("tuned", 2)}
    assert PlannedRun.from_json(planned[0].to_json(), "plan.json") == planned[0]
    given = Experiment(SMALL).planned_runs(*experiment.blocks)[0]
    assert given.tuning == "given" and "tuning" not in given.to_json()


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {"edge": "True"}, "edge"),
        ({}, {"steps": 50}, "horizon"),
        ({"training__batch_size": 16}, {}, "other"),
        ({"experiments__table1__lr": 1e-3, "experiments__table2__lr": 1e-3}, {}, "other"),
    ],
)
def test_a_rate_that_was_not_tuned_for_just_this_run_says_so(tmp_path, changes, options, expected):
    path = rates_file(tmp_path / "rates.csv", Experiment(SMALL), **options)
    experiment = Experiment(changed(learning_rates=path, **changes))
    assert {how_tuned(run, experiment.rates) for run in experiment.runs.values()} == {expected}


def test_numbers_of_the_configuration_are_given_and_may_name_model_and_modulation():
    experiment = Experiment(changed(learning_rates={"A": 1e-3, "E": 0.02, "DiT-Nano/2 E rotate": 0.03}))
    assert {how_tuned(run, experiment.rates) for run in experiment.runs.values()} == {"given"}
    assert {(run.config, run.modulation, run.lr) for run in experiment.runs.values()} == {
        ("A", "scale_shift", 1e-3), ("E", "scale_shift", 0.02), ("E", "rotate", 0.03),
    }  # fmt: skip


def test_a_missing_file_of_rates_is_one_line_unless_the_study_is_to_be_tuned(tmp_path):
    missing = str(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"^learning_rates: .*none.csv: no such file; expected the rates.csv of `snake"):
        Experiment(changed(learning_rates=missing))
    start = {"A": 1e-3, "E": 1e-2}
    experiment = Experiment(changed(learning_rates=missing, tuning={"start": start}), untuned=True)
    assert experiment.missing_rates == f"{missing}: no such file"
    assert {run.config: run.lr for run in experiment.runs.values()} == start
    with pytest.raises(UserError, match=r"^tuning.start.A: missing; experiments.table1 names no lr"):
        Experiment(changed(learning_rates=missing), untuned=True)


def test_a_setting_that_the_file_of_rates_lacks_is_one_line_unless_the_study_is_to_be_tuned(tmp_path):
    path = Path(rates_file(tmp_path / "rates.csv", Experiment(SMALL)))
    path.write_text("".join(line for line in path.read_text().splitlines(True) if ",A," not in line))
    expected = f"{path}: no rate for DiT-Nano/2 A scale_shift"
    with pytest.raises(UserError) as error:
        Experiment(changed(learning_rates=str(path)))
    assert str(error.value) == f"learning_rates: {expected}; expected one for each setting whose block names no lr"
    experiment = Experiment(changed(learning_rates=str(path), tuning={"start": {"A": 1e-3}}), untuned=True)
    assert experiment.missing_rates == expected
    assert {run.config: run.lr for run in experiment.runs.values()} == {"A": 1e-3, "E": 0.04}


def test_a_width_tuned_for_another_recipe_is_taken_with_its_rate(tmp_path):
    path = rates_file(tmp_path / "rates.csv", Experiment(SMALL))
    experiment = Experiment(changed(learning_rates=path, sampling={"ema_width": "tuned"}, training__batch_size=16))
    assert {protocol.ema_width for protocol in experiment.protocols.values()} == {0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,lr\nDiT-S/2,1\n", "line 2: no config; expected the rates.csv of"),
        (RATES_HEADER + "m,E,s,fast,d,i,1,,0.5,2,0,True,False\n", "line 2: could not convert string to float: 'fast'"),
        (RATES_HEADER + "m,E,s,1,d,i,1,,0.5,2,0,True,False\n" * 2, "line 3: a second rate for m E s is chosen"),
    ],
)
def test_a_damaged_file_of_rates_is_one_line(tmp_path, text, message):
    (tmp_path / "rates.csv").write_text(text)
    with pytest.raises(UserError) as error:
        Experiment(changed(learning_rates=str(tmp_path / "rates.csv")))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_tuning_settings_are_those_of_blocks_that_name_no_rates():
    experiment = Experiment(changed(experiments__table2__lr=[1e-3, 1e-2], tuning={"start": {"E": 0.05}, "steps": 50}))
    settings = {setting.template.config: setting for setting in experiment.tuning_settings()}
    assert {config: setting.start for config, setting in settings.items()} == {"A": 1e-3, "E": 0.05}
    runs = settings["E"].runs_of(2)
    assert [(run.lr, run.seed, run.training.steps) for run in runs] == [(0.1, 1000, 50), (0.1, 1001, 50)]
    assert len(settings["E"].runs()) == 2 * len(rungs(8))
    assert settings["E"].name == f"DiT-Nano-2-E-scale_shift-{runs[0].tuning_identity}"
    with pytest.raises(UserError, match=r"^tuning.seeds: expected other seeds than those of the experiments, got 1$"):
        Experiment(changed(tuning={"seeds": [1, 7]})).tuning_settings()
