"""The shipped configurations: every run of each builds, names stay what they are, and Snakemake takes them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mpdit.experiment.grid import Experiment
from mpdit.model.dit import create_model
from mpdit.paper.setting import is_in_paper_setting
from mpdit.planning.data_summary import DataSummary
from mpdit.planning.jobs import RULES, Workload
from mpdit.planning.sizes import AutoencoderSize
from mpdit.results.study_lock import CONTROLS

ROOT = Path(__file__).parents[2]
SHIPPED = {path.stem: path for path in (ROOT / "config.yaml", *sorted((ROOT / "workflow/config").glob("*.yaml")))}
SHAPES = {  # (C, H, W) of the latents, and classes
    "config": ((1, 12, 12), 10), "imagenet128": ((4, 16, 16), 1000), "cifar10": ((3, 32, 32), 10),
    "digits16": ((1, 16, 16), 10), "digits16-half": ((1, 16, 16), 10),
}  # fmt: skip

NO_SIZE = AutoencoderSize((4, 16, 16), False)


def shipped(name: str) -> Experiment:
    """The study of a shipped file; the file of its rates need not be there yet."""
    return Experiment(yaml.safe_load(SHIPPED[name].read_text()), untuned=True)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_model_of_a_shipped_configuration_builds(name):
    (channels, size, _), classes = SHAPES[name]
    for model, config, modulation in {(run.model, run.config, run.modulation) for run in shipped(name).runs.values()}:
        with torch.device("meta"):
            built = create_model(model, config, modulation, input_size=size, in_channels=channels, num_classes=classes)
        if name in ("imagenet128", "cifar10"):
            assert built.position.shape[0] in (16, 64)
        x, index = torch.empty(1, channels, size, size, device="meta"), torch.empty(1, dtype=torch.long, device="meta")
        assert built(x, index, index).shape == (1, 2 * channels, size, size)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("imagenet128", "DiT-S-2-E-scale_shift-lr0.01-seed0-0d70d2ad"),
        ("cifar10", "DiT-XS-4-E-scale_shift-lr0.02-seed0-28ab90e7"),
    ],
)
def test_names_of_runs_stay_what_they_are(name, run):
    """Who has trained runs finds them again: a change of this name makes all of them anew."""
    assert run in shipped(name).runs


def test_the_papers_configuration_is_the_papers():
    experiment = shipped("imagenet128")
    assert all(is_in_paper_setting(run) for name in ("table1", "table2") for run in experiment.blocks[name].runs)
    assert len(experiment.blocks["table1"].runs) == 5 * 15
    rates = {(run.config, run.lr) for run in experiment.blocks["learning_rate"].runs}
    assert rates == {(config, rate) for config in "AE" for rate in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)}
    training = experiment.training
    assert (training.warmup_steps, training.decay_start) == (round(400_000 / 150), 400_000 // 10)


@pytest.mark.parametrize("name", ["imagenet128", "cifar10"])
def test_blocks_that_only_sample_train_nothing(name):
    experiment = shipped(name)
    trained = {run.name for block in ("table1", "table2") for run in experiment.blocks[block].runs}
    for block in {"growth", "over_training", "ema_width", "ema_width_modulation"} & set(experiment.blocks):
        assert {run.name for run in experiment.blocks[block].runs} <= trained


@pytest.mark.parametrize("name", ["config", "cifar10", "imagenet128"])
def test_one_key_sets_the_seeds_of_every_block(name):
    """But for blocks of EMA widths, which may keep to one, and the controls, which need seeds of their own."""
    text, changed = re.subn(r"(seed: &\w+) \[.*?\]", r"\1 [0, 7]", SHIPPED[name].read_text())
    assert changed == 1
    experiment = Experiment(yaml.safe_load(text), untuned=True)
    seeds = {block: {run.seed for run in experiment.blocks[block].runs} for block in experiment.blocks}
    own = {"ema_width", "ema_width_modulation", *CONTROLS}
    assert {block for block in seeds if seeds[block] != {0, 7}} <= own


def test_the_study_at_half_of_the_steps_is_the_same_study():
    whole, half = (yaml.safe_load(SHIPPED[name].read_text()) for name in ("digits16", "digits16-half"))
    assert half["training"].pop("steps") * 2 == whole["training"].pop("steps")
    worse = [study["experiments"]["control_worse"]["training"].pop("steps") for study in (half, whole)]
    assert worse[0] * 2 == worse[1]
    for study, name in ((whole, "digits16"), (half, "digits16-half")):
        assert study.pop("learning_rates") == f"workflow/rates/{name}.csv"
    assert half == whole


@pytest.mark.parametrize("name", ["cifar10", "imagenet128"])
def test_studies_of_claims_have_five_seeds_each_sampled_with_its_own(name):
    experiment = shipped(name)
    for block in ("table1", "table2", "learning_rate"):
        assert {run.seed for run in experiment.blocks[block].runs} == set(range(5))
    assert experiment.sampling.seeds == "paired"
    assert 0 < len(experiment.claims.primary) <= 4
    users: dict[tuple[str, int], set[int]] = {}  # of a sampling seed, among runs that differ in the training seed
    for block in experiment.blocks.values():
        for run in block.runs:
            for protocol in block.protocols_of[run.name]:
                setting = (f"{run.model} {run.config} {run.modulation} {run.lr}", protocol.sampling_seed)
                users.setdefault(setting, set()).add(run.seed)
    assert max(map(len, users.values())) == 1, "a sampling seed is shared by training seeds"


@pytest.mark.parametrize("name", ["imagenet128", "cifar10"])
def test_snakemake_starts_as_many_jobs_as_mpdit_plans(name, tmp_path):
    words = ["snakemake", "all", "--dry-run", "--cores", "2", "--quiet", "rules", "--directory", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", *words, "--configfile", str(SHIPPED[name])],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    data = DataSummary(1, 10, NO_SIZE, encoded=False)
    workload = Workload(shipped(name), list(shipped(name).blocks), tmp_path / "results", data)
    for rule in RULES:
        assert int(counts.get(rule, 0)) == sum(len(jobs.to_do) for jobs in workload.jobs(rule)), rule
