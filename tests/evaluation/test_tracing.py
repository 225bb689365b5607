"""`mpdit trace`: magnitudes of a run at initialization and at its snapshots."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.made_up_runs import outcome
from helpers.tiny_runs import make_spec

from mpdit.__main__ import main
from mpdit.evaluation.tracing import evenly_spaced
from mpdit.model.dit import create_model
from mpdit.system.files import write_json
from mpdit.training import snapshots

HEADER = "run,step,ema_width,kind,block,site,timestep,correlation,magnitude"


@pytest.fixture
def run(tmp_path, tiny_latents):
    return MadeUpRun(tmp_path / "run", tiny_latents)


class MadeUpRun:
    """A run folder as `mpdit train` leaves it, with weights that grow linearly, and `mpdit trace` on it."""

    def __init__(self, folder, latents):
        self.folder, self.latents = folder, latents
        self.fingerprint = json.loads((latents / "manifest.json").read_text())["fingerprint"]

    def write(self, config="D", modulation="scale_rotate", steps=(10, 20, 30, 40, 50), status="trained"):
        """Weights at step n are those at initialization times 1 + n/50."""
        model = create_model("DiT-Nano/2", config, modulation, input_size=8, in_channels=1, num_classes=10, seed=0)
        for step in steps:
            weights = {name: parameter * (1 + step / 50) for name, parameter in model.named_parameters()}
            for width in (0.05, 0.10, *([None] if step == steps[-1] else [])):
                snapshots.save_snapshot(self.folder / "snapshots", step, width, weights, "float32")
        self.run = replace(make_spec(config), modulation=modulation)
        write_json(self.folder / "spec.json", self.run.to_json())
        self.write_trained(self.fingerprint, status)

    def write_trained(self, latents, status="trained"):
        write_json(self.folder / "trained.json", outcome(self.run.name) | {"latents": latents, "status": status})

    def trace(self, *options):
        """The rows of magnitudes.csv, or the exit status if it is not 0."""
        output = self.folder / "magnitudes.csv"
        words = ["trace", self.folder, "--latents", self.latents, "--output", output, "--device", "cpu", *options]
        status = main(list(map(str, words)))
        if status:
            return status
        with open(output, newline="") as file:
            return list(csv.DictReader(file))


def rows_where(rows, **values):
    return [row for row in rows if all(row[key] == str(value) for key, value in values.items())]


def magnitudes(rows):
    return [float(row["magnitude"]) for row in rows]


def test_all_kinds_are_measured_at_initialization_and_at_evenly_spaced_snapshots(run):
    run.write()
    rows = run.trace("--images", 30, "--timesteps", 50, 950, "--snapshots", 3)
    assert ",".join(rows[0]) == HEADER
    assert {row["run"] for row in rows} == {run.run.name}
    steps_and_widths = {(row["step"], row["ema_width"]) for row in rows}
    assert steps_and_widths == {("0", ""), ("10", "0.05"), ("30", "0.05"), ("50", "0.05"), ("50", "")}
    assert {row["kind"] for row in rows} == {"activation", "angle", "weight", "gain", "correlated"}
    residual = rows_where(rows, step=0, kind="activation", site="residual", block=-1)
    assert [row["timestep"] for row in residual] == ["50", "950"]
    assert all(0.9 < value < 1.1 for value in magnitudes(residual))  # whitened inputs have magnitude 1
    assert len(rows_where(rows, step=50, kind="activation")) == 2 * (3 * 5 + 1)
    assert len(rows_where(rows, step=50, kind="angle", block=2)) == 2 * 2
    assert all(row["timestep"] == "" for row in rows_where(rows, kind="weight") + rows_where(rows, kind="gain"))
    start, end = (magnitudes(rows_where(rows, step=step, kind="activation", timestep=950)) for step in (0, 50))
    assert end == pytest.approx(start, rel=1e-5)  # the same model, once its rows are normalized
    correlated = rows_where(rows, kind="correlated")
    assert {row["step"] for row in correlated} == {"0", "50"}
    assert len(correlated) == 2 * 4 * 2 * (3 * 5 + 1)  # models, correlations, timesteps, sites
    entering = magnitudes(rows_where(correlated, step=0, site="residual", block=-1))
    assert entering == pytest.approx([1] * 8, abs=0.2)
    attended = {
        correlation: np.mean(
            magnitudes(rows_where(correlated, step=0, site="attention_output", block=0, correlation=correlation))
        )
        for correlation in (0.0, 0.99)
    }
    assert attended[0.99] > 1.15 * attended[0.0]  # averaging tokens that are alike loses nothing


def test_normalized_weights_that_are_not_forced_show_their_growth(run):
    run.write("C", "scale_shift")
    rows = run.trace("--images", 8, "--timesteps", 500)
    growth = magnitudes(rows_where(rows, kind="weight", block=0, site="mlp.up"))[:-1]  # without the plain weights
    assert growth == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 2.0], rel=1e-6)


def test_norms_are_of_weights_as_stored_before_they_are_normalized(run):
    """Forced weights are at norm 1 by the loader alone, which must not hide that they were stored elsewhere."""
    run.write("D", "scale_shift")
    everything = run.trace("--images", 8, "--timesteps", 500)
    rows = rows_where(everything, kind="weight", block=1, site="all")
    assert [row["ema_width"] for row in rows] == ["", *["0.05"] * 5, ""]
    assert magnitudes(rows) == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.0], rel=1e-6)
    plain = [row for row in everything if row["step"] == "50" and row["ema_width"] == ""]
    assert {row["kind"] for row in plain} == {"weight"}


def test_a_diverged_run_gives_a_header_alone(run):
    run.write(status="diverged", steps=())
    assert run.trace() == []
    assert (run.folder / "magnitudes.csv").read_text() == HEADER + "\n"


def test_steps_are_evenly_spaced_and_include_the_last():
    steps = list(range(10, 101, 10))
    assert evenly_spaced(steps, 16) == steps
    assert evenly_spaced(steps, 5) == [20, 40, 60, 80, 100]
    assert evenly_spaced(steps, 3) == [30, 60, 100]
    assert evenly_spaced(steps, 1) == [100]
    assert evenly_spaced([], 3) == []


def test_mistakes_are_named_in_one_line(run, capsys):
    def message(*options):
        assert run.trace(*options) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "spec.json: no such file" in message()
    run.write(steps=())
    assert "no snapshots of EMA width 0.05" in message()
    assert "--timesteps: 5 1000: must be from 0 to 999" in message("--timesteps", 5, 1000)
    assert "--images: 0: must be at least 1" in message("--images", 0)
    assert "--snapshots: 0: must be at least 1" in message("--snapshots", 0)
    run.write_trained("0" * 64)
    assert f"latents {run.fingerprint[:12]}: must be those that" in message()
