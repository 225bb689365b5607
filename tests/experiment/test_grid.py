"""The grid: names, identities, protocols, and one clear line for each mistake."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mpdit.experiment import ladder as configs
from mpdit.experiment.grid import Experiment
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
    spec = run.spec()
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
    assert [protocol.seed for protocol in table2.protocols] == [3, 4]
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "configuration: unknown key 'extra', must be one of data, training"),
        ({"training__stepz": 1}, "training: unknown key 'stepz', must be one of steps, batch_size"),
        ({"training__steps": "abc"}, "training.steps: found 'abc', must be a whole number of at least 1"),
        ({"training__steps": 0}, "training.steps: found 0, must be a whole number of at least 1"),
        ({"training__steps": 1.5}, "training.steps: found 1.5, must be a whole number of at least 1"),
        ({"training__steps": True}, "training.steps: found True, must be a whole number of at least 1"),
        ({"training__snapshots": 101}, "training.snapshots: found 101, must be at most training.steps, 100"),
        ({"training__betas": [0.9]}, "training.betas: found [0.9], must be a list of 2"),
        ({"training__betas": [0.9, 1]}, "must be a number of at least 0 and below 1"),
        ({"training__gradient_clip": 0}, "training.gradient_clip: found 0, must be a number above 0, or null"),
        ({"training__schedule": "cosine"}, "found 'cosine', must be one of constant, inverse_sqrt"),
        ({"training": [1]}, "training: found [1], must be a mapping with keys from steps"),
        ({"data__source": "hub"}, "data.source: found 'hub', must be one of mnist, folder, zip"),
        ({"data__source": "zip"}, "data.path: missing, must name the zip of images"),
        ({"data__path": "x"}, "data.path: given for the built-in source mnist, must be left out"),
        ({"data__name": "a b"}, "data.name: found 'a b', must be a name of letters, digits, underscores and dots"),
        ({"data__resolution": ...}, "data.resolution: missing, must be given"),
        ({"learning_rates__E": ...}, "learning_rates.E: missing, must be given since experiments.table1 names no lr"),
        ({"learning_rates__Z": 1}, "learning_rates: unknown key 'Z', must be one of A, B, C, D, E"),
        ({"learning_rates__E": float("nan")}, "learning_rates.E: found nan, must be a number above 0"),
        ({"experiments__table1__config": ["A", "Z"]}, "experiments.table1.config: found ['A', 'Z'], must be one of A"),
        ({"experiments__table1__model": "DiT-S/3"}, "experiments.table1.model: found 'DiT-S/3', must be one of DiT-"),
        ({"experiments__table1__modulation": "shear"}, "found 'shear', must be one of scale, shift, scale_shift"),
        ({"experiments__table1__seed": [0, 0]}, "experiments.table1.seed: found [0, 0], must be a list without"),
        ({"experiments__table1__seed": ...}, "experiments.table1.seed: missing, must be a list"),
        ({"experiments__table1__lr": 0}, "experiments.table1.lr: found 0, must be a number above 0"),
        (
            {"experiments__table1__sampling": {"step": 101}},
            "experiments.table1.sampling.step: found 101, must be at most training.steps, 100",
        ),
        (
            {"experiments__table1__sampling": {"step": [50, 60]}},
            "experiments.table1.sampling.step: found 60, must be a step with a snapshot, such as 50 or 75: "
            "training.snapshots is 4 in 100 steps",
        ),
        ({"sampling": {"step": 10}}, "sampling.step: found 10, must be a step with a snapshot, such as 25 or 50"),
        ({"experiments__table1__widths": 1}, "experiments.table1: unknown key 'widths', must be one of model, config"),
        ({"experiments": {}}, "experiments: missing or empty, must name at least one block"),
        ({"sampling": {"steps": 1001}}, "sampling.steps: found 1001, must be a whole number of at least 1 and at most"),
        ({"sampling": {"seeds": []}}, "sampling.seeds: found [], must be a list of one or more"),
    ],
)
def test_mistakes_are_one_line_that_names_the_field(change, message):
    with pytest.raises(UserError) as error:
        Experiment(changed(**change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_models_are_checked_by_name():
    with pytest.raises(
        UserError, match=r"unknown model 'DiT-Q/2': must be DiT-SIZE/PATCH with SIZE one of Nano, Micro"
    ):
        configs.parse_model("DiT-Q/2")
    assert configs.parse_model("DiT-S/8") == (configs.Size(12, 384, 6), 8)


def test_adjacent_letters_differ_in_exactly_the_declared_fields():
    for letter, (parent, declared) in configs.DECLARED.items():
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
