"""`mpdit plan`: operations and bytes against sums by hand and against real files; states of runs; rates; mistakes."""

import copy
import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.tiny_runs import make_spec, train_in, write_latents

from mpdit.__main__ import main
from mpdit.evaluation.sample_archive import sample_writer
from mpdit.experiment.grid import Experiment
from mpdit.experiment.run_spec import DataIdentity, Protocol
from mpdit.planning import rates as speed
from mpdit.planning import sizes as estimate
from mpdit.planning.jobs import RULES, Study, find_data, step_of
from mpdit.planning.rates import COMPILING, START, find_rate
from mpdit.planning.sizes import ModelSize, model_size
from mpdit.system.console import duration
from mpdit.system.errors import UserError

CONFIG = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8, "snapshots": 4, "warmup_steps": 5, "decay_start": 30},
    "sampling": {"steps": 10, "count": 20},
    "scoring": {"features": "efficientnet-lite0"},
    "tracing": {"images": 16, "timesteps": [250, 750], "snapshots": 2},
    "execution": {"device": "cpu"},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/4", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0]},
        "table2": {
            "model": "DiT-Nano/4", "config": "E", "modulation": ["scale_shift", "scale"], "seed": [0],
            "sampling": {"seeds": [0, 1]},
        },
    },
}  # fmt: skip


def study_of(results: Path, config: dict = CONFIG, blocks=None) -> Study:
    experiment = Experiment(config)
    return Study(experiment, blocks or list(experiment.blocks), results, find_data(experiment, results))


def run_of(study: Study, config: str, modulation: str = "scale_shift"):
    runs = study.experiment.runs.values()
    return next(run for run in runs if (run.config, run.modulation) == (config, modulation))


def finish(study: Study, run, results: Path, **changes) -> Path:
    """The JSON files of a run that has ended."""
    folder = results / "runs" / run.name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(run.to_json()))
    outcome = {"status": "trained", "step": 100, "images_per_second": 640.0, "device": "cpu", "threads": 1}
    (folder / "trained.json").write_text(json.dumps(outcome | changes))
    return folder


def cells(output: str, name: str) -> list[str]:
    """The row of `name` in one of the printed tables."""
    (line,) = re.findall(rf"^{name} .*$", output, re.MULTILINE)
    return re.split(r"  +", line)


# Operations and bytes


def test_flops_of_a_forward_pass_by_hand():
    tokens, width, classes = 64, 384, 1000
    attention = 2 * tokens * width * 3 * width + 4 * tokens**2 * width + 2 * tokens * width * width
    mlp = 2 * 2 * tokens * width * 4 * width
    modulation = 2 * width * 2 * 3 * width  # scale, shift and gate of two branches
    block = attention + mlp + modulation
    embeddings = 2 * tokens * (2 * 2 * 4 + 1) * width + 2 * 256 * width + 2 * width * width
    final = 2 * width * 2 * width + 2 * tokens * width * 2 * 2 * 8
    size = model_size("DiT-S/2", "E", "scale_shift", (4, 16, 16), classes)
    assert size.flops == 12 * block + embeddings + final


def test_parameters_by_hand():
    width = 384
    block = (4 + 8 + 6) * width**2
    outside = (17 + 256 + 2 * 16) * width + width**2 + 1001 * width + 2 * width**2
    size = model_size("DiT-S/2", "A", "scale_shift", (4, 16, 16), 1000)
    assert (size.matrices, size.vectors) == (12 * block + outside, 0)
    assert model_size("DiT-S/2", "E", "scale_shift", (4, 16, 16), 1000).vectors == 12 * 6 + 4  # gains of heads


def test_flops_of_jobs_by_hand():
    size = ModelSize(matrices=1000, vectors=10, flops=7)
    assert estimate.training_flops(size, {"batch_size": 8}, 100) == 3 * 7 * 8 * 100
    protocol = Protocol("ddpm", sampling_steps=50, guidance=1.0, count=20, ema_width=0.05, step=100, sampling_seed=0)
    assert estimate.sampling_flops(size, protocol) == 7 * 50 * 20
    guided = Protocol("ddpm", sampling_steps=50, guidance=1.5, count=20, ema_width=0.05, step=100, sampling_seed=0)
    assert estimate.sampling_flops(size, guided) == 2 * 7 * 50 * 20
    tracing = {"images": 16, "timesteps": [1, 2], "snapshots": 4}
    assert estimate.tracing_flops(size, tracing, {"snapshots": 3}) == 7 * 16 * 2 * (1 + 3)


def test_bytes_by_hand():
    size = ModelSize(matrices=1000, vectors=10, flops=7)
    training = {"steps": 100, "snapshots": 4, "ema_widths": [0.05, 0.1], "snapshot_dtype": "float16"}
    assert estimate.snapshots_bytes(size, training) == (4 * 2 + 1) * (2 * 1000 + 4 * 10) + 4 * 1010
    assert estimate.checkpoints_bytes(size, training) == 2 * 4 * 1010 * 5
    assert estimate.samples_bytes(10_000, 128) == 10_000 * (3 * 128 * 128 + 8)
    assert estimate.latents_bytes(10, (1, 8, 8), pixels=True, posterior=False) == 10 * (64 + 8)
    assert estimate.latents_bytes(1_281_167, (4, 16, 16), pixels=False, posterior=True) == pytest.approx(5.26e9, 1e-3)


def test_bytes_of_a_run_are_those_of_its_files(tmp_path):
    latents = write_latents(tmp_path / "latents", shape=(2, 4, 4))
    spec = make_spec(snapshot_dtype="float16")
    assert train_in(tmp_path / "run", spec, latents) == 0
    size = model_size("DiT-Nano/2", "E", "scale_shift", (2, 4, 4), 3)
    kept = [*(tmp_path / "run/snapshots").iterdir(), tmp_path / "run/model.safetensors"]
    assert sum(path.stat().st_size for path in kept) == pytest.approx(
        estimate.snapshots_bytes(size, spec["training"]), rel=0.02
    )
    checkpoints = sum(path.stat().st_size for path in (tmp_path / "run/checkpoints").iterdir())
    assert checkpoints == pytest.approx(estimate.checkpoints_bytes(size, spec["training"]), rel=0.03)


def test_bytes_of_latents_and_samples_are_those_of_their_files(tmp_path, tiny_latents):
    found = sum(path.stat().st_size for path in tiny_latents.glob("*.npy"))
    assert found - 2 * 128 == estimate.latents_bytes(64, (1, 8, 8), pixels=True, posterior=False)
    with sample_writer(tmp_path / "samples.npz", np.zeros(100, dtype=np.int64)) as append:
        append(np.zeros((100, 16, 16, 3), dtype=np.uint8))
    assert (tmp_path / "samples.npz").stat().st_size == pytest.approx(estimate.samples_bytes(100, 16), rel=0.02)


def test_an_autoencoder_is_known_by_its_config(tmp_path):
    config = {**estimate.SD_VAE, "block_out_channels": [32, 32, 32], "latent_channels": 8}
    config |= {key: config[key][:3] for key in ("down_block_types", "up_block_types")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    size, known = estimate.autoencoder_size(str(tmp_path), 64)
    assert known
    assert (size.shape, size.posterior) == ((8, 16, 16), True)
    large, _ = estimate.autoencoder_size(str(tmp_path), 128)
    assert 4 * size.encoding <= large.encoding < 4.5 * size.encoding  # its attention grows faster than its convolutions
    assert 4 * size.decoding <= large.decoding < 4.5 * size.decoding


def test_an_autoencoder_that_is_not_at_hand_is_taken_for_an_sd_vae(tmp_path):
    size, known = estimate.autoencoder_size(str(tmp_path / "nowhere"), 128)
    assert not known
    assert (size.shape, size.posterior) == ((4, 16, 16), True)


# What there is to do


def test_shared_runs_and_samples_count_in_the_first_block(tmp_path):
    study = study_of(tmp_path)
    assert [share.runs for share in study.shares] == [2, 2]
    assert [share.jobs["train"].all for share in study.shares] == [2, 1]
    assert [share.jobs["sample"].all for share in study.shares] == [2, 3]  # E's second seed, scale's two
    assert study.disk["samples"] == 5 * estimate.samples_bytes(20, 8)
    assert study.disk["latents"] == estimate.latents_bytes(5000, (1, 8, 8), pixels=True, posterior=False)


def test_one_block_alone_has_all_its_runs(tmp_path):
    (share,) = study_of(tmp_path, blocks=["table2"]).shares
    assert (share.jobs["train"].all, share.jobs["sample"].all) == (2, 4)


def test_what_is_done_is_not_to_do(tmp_path):
    study = study_of(tmp_path)
    a, e = run_of(study, "A"), run_of(study, "E")
    folder = finish(study, a, tmp_path)
    (folder / "magnitudes.csv").touch()
    (protocol,) = study.experiment.blocks["table1"].protocols
    (folder / "samples" / protocol.name).mkdir(parents=True)
    (folder / "samples" / protocol.name / "samples.npz").touch()
    checkpoints = tmp_path / "runs" / e.name / "checkpoints"
    checkpoints.mkdir(parents=True)
    for step in (30, 40):
        (checkpoints / f"step-{step:08}.safetensors").touch()
    study = study_of(tmp_path)
    share = study.shares[0]
    train, flops = share.jobs["train"], study.size(e).flops
    assert (train.all, train.done, share.begun) == (2, 1, 1)
    assert train.to_do == [("DiT-Nano/4", 3 * flops * 8 * 60)]
    assert {rule: share.jobs[rule].done for rule in ("sample", "score", "trace")} == {
        "sample": 1,
        "score": 0,
        "trace": 1,
    }


def test_encoded_latents_say_what_they_are(tmp_path, tiny_latents):
    experiment = Experiment(CONFIG | {"data": CONFIG["data"] | {"name": "mnist8"}})
    folder = tmp_path / "latents" / experiment.data_name
    shutil.copytree(tiny_latents, folder)
    data = find_data(experiment, tmp_path)
    assert (data.images, data.classes, data.size.shape, data.encoded) == (64, 10, (1, 8, 8), True)
    (jobs,) = Study(experiment, ["table1"], tmp_path, data).jobs("encode")
    assert (jobs.all, jobs.done) == (1, 1)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"manifest.json: 'shape': must be written by `mpdit encode`"):
        find_data(experiment, tmp_path)


def test_shards_are_jobs_of_their_own(tmp_path):
    config = CONFIG | {"execution": {"device": "cpu", "shards": 4}}
    name = Experiment(config).data_name
    done = tmp_path / "latents" / name / "shards/2-of-4/finished"
    done.parent.mkdir(parents=True)
    done.touch()
    (shards,) = study_of(tmp_path, config).jobs("encode_shard")
    assert (shards.all, shards.done) == (4, 1)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ('{"status": "trained", "step": 100}', 100),
        ('{"status": "trained", "step": 60}', 0),  # `steps` was raised
        ('{"status": "diverged", "step": 60}', 100),  # a result: it stays
        ("{", 0),
        ("[]", 0),
        ('{"step": "x"}', 0),
    ],
)
def test_step_that_a_run_goes_on_from(tmp_path, text, step):
    (tmp_path / "trained.json").write_text(text)
    assert step_of(tmp_path, 100) == step


# Rates


def test_a_rate_is_given_or_assumed(tmp_path):
    study = study_of(tmp_path)
    assert find_rate(study, 1e9).seconds("train", "DiT-Nano/4", 3e9) == START["core"] + 3
    assumed = find_rate(study)
    assert assumed.flops == speed.ASSUMED["core"]
    assert "ASSUMED" in assumed.source
    on_gpu = find_rate(study_of(tmp_path, CONFIG | {"execution": {"device": "cuda"}}), 1e9)
    assert on_gpu.seconds("train", "DiT-Nano/4", 3e9) == START["GPU"] + COMPILING["GPU"] + 3
    assert on_gpu.seconds("score", "", 3e9) == START["GPU"] + 3


def test_finished_runs_measure(tmp_path):
    study = study_of(tmp_path)
    run = run_of(study, "A")
    finish(study, run, tmp_path, images_per_second=500.0, threads=2)
    rate = find_rate(study)
    assert rate.by_model == {"DiT-Nano/4": 3 * study.size(run).flops * 500 / 2}
    assert "as 1 finished run has measured" in rate.source


@pytest.mark.parametrize(
    "change", [{"device": "NVIDIA H100"}, {"images_per_second": None}, {"threads": 0}, {"device": 1}]
)
def test_a_run_on_other_devices_or_damaged_measures_nothing(tmp_path, change):
    study = study_of(tmp_path)
    finish(study, run_of(study, "A"), tmp_path, **change)
    assert "ASSUMED" in find_rate(study).source


def test_runs_of_several_gpus_measure_one(tmp_path):
    config = CONFIG | {"execution": {"device": "cuda"}}
    study = study_of(tmp_path, config)
    run = run_of(study, "A")
    finish(study, run, tmp_path, device="4 x NVIDIA H100", images_per_second=8000.0)
    rate = find_rate(study)
    assert rate.by_model == {"DiT-Nano/4": 3 * study.size(run).flops * 2000}
    assert rate.compiling == 0  # what the run took holds it


def test_other_studies_measure_nothing(tmp_path):
    other = copy.deepcopy(CONFIG)
    other["data"]["name"] = "others"
    foreign = study_of(tmp_path, other)
    finish(foreign, run_of(foreign, "A"), tmp_path)
    assert DataIdentity.of(foreign.experiment.data) != DataIdentity.of(Experiment(CONFIG).data)
    assert "ASSUMED" in find_rate(study_of(tmp_path)).source


def write_cost(path: Path, **changes) -> None:
    row = {
        "model": "DiT-Nano/4", "config": "E", "modulation": "scale_shift", "form": "cheap", "device": "cpu",
        "flops": model_size("DiT-Nano/4", "E", "scale_shift", (1, 8, 8), 10).flops, "step_seconds": "0.01",
        "threads": 2,
    }  # fmt: skip
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row | changes)


def test_cost_csv_measures_where_no_run_does(tmp_path):
    study = study_of(tmp_path)
    write_cost(tmp_path / "cost.csv")
    flops = study.size(run_of(study, "E")).flops
    assert find_rate(study).by_model == pytest.approx({"DiT-Nano/4": 3 * flops * 8 / 0.01 / 2})


@pytest.mark.parametrize(
    "change",
    [{"flops": 7}, {"form": "textbook"}, {"device": "NVIDIA H100"}, {"step_seconds": ""}, {"model": "DiT-S/2"}],
)
def test_rows_of_cost_csv_that_do_not_fit_measure_nothing(tmp_path, change):
    write_cost(tmp_path / "cost.csv", **change)
    assert "ASSUMED" in find_rate(study_of(tmp_path)).source


# What is printed


@pytest.fixture
def planned(tmp_path, capsys):
    """A function: options -> what `mpdit plan` prints of CONFIG, or of another configuration."""

    def plan(*options: str, config: dict = CONFIG) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(config))
        words = ["plan", "--configfile", str(path), "--results", str(tmp_path / "results"), *options]
        assert main(words) == 0
        return capsys.readouterr().out

    return plan


def test_the_command_prints_what_was_counted(planned, tmp_path):
    output = planned("--flops-per-second", "1e6")
    study = study_of(tmp_path / "results")
    assert output.startswith(f"{tmp_path}/study.yaml: 3 runs in 2 blocks\n")
    assert cells(output, "block")[-1] == "core-hours"
    train = [job for jobs in study.jobs("train") for job in jobs.to_do]
    hours = sum(5 + flops / 1e6 for _, flops in train) / 3600
    assert cells(output, "train")[:4] == ["train", "3", "0", "3"]
    assert cells(output, "train")[5] == f"{hours:.2f}"
    assert cells(output, "table1")[1:7] == ["2", "2", "0", "0", "2", "0"]
    assert cells(output, "table2")[1:7] == ["2", "1", "0", "0", "3", "0"]
    assert cells(output, "latents") == ["latents", "360 kB"]
    assert "- 1 MFLOP/s a core, as given" in output
    assert not (tmp_path / "results").exists()


def test_time_side_by_side_is_at_least_the_longest_run(planned, tmp_path):
    config = CONFIG | {"execution": {"device": "cuda", "devices": 2}}
    output = planned("--flops-per-second", "1e5", config=config)
    study = study_of(tmp_path / "results", config)
    rate = find_rate(study, 1e5)
    seconds = [rate.seconds(rule, *job) for rule in RULES for jobs in study.jobs(rule) for job in jobs.to_do]
    longest = max(rate.seconds("train", *job) for jobs in study.jobs("train") for job in jobs.to_do) / 2
    assert cells(output, "time") == ["time", "2 GPUs", "4 GPUs", "8 GPUs", "16 GPUs", "32 GPUs", "longest run"]
    wanted = [max(sum(seconds) / count, longest) for count in (2, 4, 8, 16, 32)]
    assert cells(output, "all") == ["all", *map(duration, wanted), duration(longest)]


def test_a_study_that_is_done_takes_no_more(planned, tmp_path):
    study = study_of(tmp_path)
    for run in study.experiment.runs.values():
        folder = finish(study, run, tmp_path / "results")
        (folder / "magnitudes.csv").touch()
        for entry in study.experiment.plan("table1", "table2")["runs"]:
            if entry["run"] == run.name:
                for score in entry["scores"]:
                    (folder / score).parent.mkdir(parents=True)
                    (folder / score).touch()
                    (folder / score).with_name("samples.npz").touch()
    output = planned("--block", "table1")
    assert cells(output, "table1")[1:] == ["2", "2", "2", "0", "2", "2", "0.00"]
    assert cells(output, "train")[1:] == ["2", "2", "0", "0", "0.00"]
    assert "as 3 finished runs have measured" in output


def test_columns_are_aligned_and_fit_a_terminal(planned):
    output = planned()
    for table in output.split("\n\n")[1:4]:
        lines = [line for line in table.splitlines() if line.count("  ")]
        assert len({len(line) for line in lines}) == 1
    assert max(map(len, output.splitlines())) <= 120


def test_an_unknown_number_of_pictures_is_said_and_can_be_given(planned):
    config = copy.deepcopy(CONFIG)
    config["data"] |= {"source": "zip", "path": "nowhere.zip"}
    output = planned(config=config)
    assert cells(output, "latents") == ["latents", "?"]
    assert cells(output, "encode")[4:] == ["?", "?"]
    assert "- data.path: nowhere.zip: no such file" in output
    assert cells(planned("--images", "1000", config=config), "latents") == ["latents", "200 kB"]  # 3 channels


def test_a_study_larger_than_the_disk_is_said(planned, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    assert "On this disk 1 MB are free, which is TOO LITTLE" in planned()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--block", "table9"], "--block: table9: must be one of table1, table2"),
        (["--flops-per-second", "0"], "--flops-per-second: 0: must be above 0"),
        (["--flops-per-second", "nan"], "--flops-per-second: nan: must be above 0"),
        (["--images", "0"], "--images: 0: must be at least 1"),
        (["--configfile", "nowhere.yaml"], "nowhere.yaml: No such file or directory: must be a configuration"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(CONFIG))
    assert main(["plan", "--configfile", str(tmp_path / "study.yaml"), *options]) == 2
    assert capsys.readouterr().err == f"mpdit plan: {message}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "study.yaml: while parsing a flow sequence"),
        ("", "study.yaml: configuration: expected a mapping with keys from data"),
        (yaml.safe_dump(CONFIG | {"stages": 1}), "study.yaml: configuration: unknown key 'stages'"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, capsys, text, message):
    (tmp_path / "study.yaml").write_text(text)
    assert main(["plan", "--configfile", str(tmp_path / "study.yaml")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
