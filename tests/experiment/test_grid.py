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
from mpdit.experiment.run_spec import RunSpec
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
        ({"fields": {"norm": "layer"}}, "spec.json: config fields \\['norm'\\]: must be exactly attention, weights"),
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
        UserError, match=r"unknown model 'DiT-Q/2': must be DiT-SIZE/PATCH with SIZE one of Nano, Micro"
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
    assert Experiment(yaml.safe_load(path.read_text())).runs


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
