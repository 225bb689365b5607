"""`mpdit heldout`: the held-out loss of a run over its training."""

import csv

import numpy as np
import pytest
from helpers.made_up_latents import made_up_latents
from helpers.made_up_runs import outcome
from helpers.tiny_models import awaken
from helpers.tiny_runs import make_spec

from mpdit.__main__ import main
from mpdit.evaluation.heldout import heldout_losses
from mpdit.evaluation.heldout_parts import parts_of
from mpdit.evaluation.trained_model import load_trained_model
from mpdit.experiment.columns import HELDOUT, HELDOUT_IMAGES
from mpdit.experiment.records import TrainedRun
from mpdit.model.dit import create_model
from mpdit.system.files import write_json
from mpdit.training.kept_snapshots import KeptSnapshots
from mpdit.training.snapshots import save_snapshot

STEPS = (3, 6, 9, 12)


class StoredRun:
    """A run folder as `mpdit train` leaves it, with gains that grow linearly, and `mpdit heldout` on it."""

    def __init__(self, folder):
        self.folder, self.run = folder / "run", make_spec()
        self.train = made_up_latents(folder / "train", [0] * 6 + [1] * 6 + [2] * 6)
        self.heldout = made_up_latents(folder / "heldout", [0, 1, 2] * 4, seed=1)
        shape = {"input_size": 4, "in_channels": 2, "num_classes": 3}
        model = awaken(create_model("DiT-Nano/2", "E", "scale_shift", **shape, seed=0))
        for step in STEPS:
            weights = {name: parameter * step / 12 for name, parameter in model.named_parameters()}
            for width in (0.05, 0.10, *([None] if step == STEPS[-1] else [])):
                save_snapshot(self.folder / "snapshots", step, width, weights, "float32")
        write_json(self.folder / "spec.json", self.run.to_json())
        self.write_trained()

    def write_trained(self, **changes):
        ended = {"latents": self.train.fingerprint, "step": STEPS[-1]}
        write_json(self.folder / "trained.json", outcome(self.run.name) | ended | changes)

    def measure(self, *options, heldout=None):
        """The rows of heldout.csv and of heldout_images.csv, or the exit status if it is not 0."""
        words = ["heldout", self.folder, "--latents", self.train.folder, "--heldout", heldout or self.heldout.folder]
        words += ["--output", self.folder / "heldout.csv", "--device", "cpu", *options]
        status = main([str(word) for word in words])
        return status or (self.rows("heldout.csv"), self.rows("heldout_images.csv"))

    def rows(self, name):
        with open(self.folder / name, newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def stored(tmp_path):
    return StoredRun(tmp_path)


def test_snapshots_are_measured_over_training_and_every_width_at_the_end(stored):
    rows, images = stored.measure("--snapshots", 2, "--ema-widths", "0.07", "0.1")
    assert tuple(rows[0]) == HELDOUT.names
    assert tuple(images[0]) == HELDOUT_IMAGES.names
    assert [(row["step"], row["ema_width"], row["part"]) for row in rows] == [
        *(("6", "0.05", part) for part in ("report", "train")),
        *(("12", width, part) for width in ("0.05", "0.1", "0.07", "") for part in ("tune", "report", "train")),
    ]
    assert {row["run"] for row in rows} == {stored.run.name}
    assert {(row["images"], row["draws"]) for row in rows} == {("6", "32")}
    assert {row["heldout"] for row in rows} == {stored.heldout.fingerprint}
    assert len(images) == 4 * 6
    for row in rows:
        if row["part"] == "report" and row["step"] == "12":
            losses = [float(image["loss"]) for image in images if image["ema_width"] == row["ema_width"]]
            assert np.mean(losses) == pytest.approx(float(row["loss"]), rel=1e-8)
    reported = parts_of(stored.train, stored.heldout)["report"].rows.tolist()
    assert [int(image["image"]) for image in images] == 4 * reported


def test_the_losses_are_those_of_the_weights_named(stored):
    rows, _ = stored.measure("--snapshots", 2, "--ema-widths", "0.07")
    images = parts_of(stored.train, stored.heldout)
    snapshots = KeptSnapshots(stored.folder, stored.run, TrainedRun.read(stored.folder / "trained.json"))
    for row in rows:
        width = float(row["ema_width"]) if row["ema_width"] else None
        model, _ = load_trained_model(snapshots, stored.train, width, int(row["step"]), "cpu")
        losses = heldout_losses(model, images[row["part"]], 32)
        assert float(row["loss"]) == pytest.approx(losses.mean, rel=1e-8)
        assert [float(row[f"loss_q{number}"]) for number in (1, 2, 3, 4)] == pytest.approx(losses.quarters, rel=1e-8)
        assert float(row["variational"]) == pytest.approx(losses.variational, rel=1e-8)
    assert len({row["loss"] for row in rows}) > 2  # the steps differ


def test_tuning_measures_the_named_widths_at_the_last_step_on_its_own_part(stored):
    rows, images = stored.measure("--last-only", "--parts", "tune", "--ema-widths", "0.1", "none", "--draws", 40)
    keys = [(row["step"], row["ema_width"], row["part"], row["draws"]) for row in rows]
    assert keys == [("12", "0.1", "tune", "40"), ("12", "", "tune", "40")]
    assert images == []


def test_a_diverged_run_gives_headers_alone(stored):
    stored.write_trained(status="diverged")
    assert stored.measure() == ([], [])
    assert (stored.folder / "heldout.csv").read_text() == ",".join(HELDOUT.names) + "\n"
    assert (stored.folder / "heldout_images.csv").read_text() == ",".join(HELDOUT_IMAGES.names) + "\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--draws", "31"), "--draws: expected at least 32, got 31"),
        (("--snapshots", "0"), "--snapshots: expected at least 1"),
        (("--last-only",), "--ema-widths: missing"),
        (("--ema-widths", "0.01"), "EMA width 0.01 at step 12"),
    ],
)
def test_mistakes_are_named_in_one_line(stored, capsys, options, problem):
    assert stored.measure(*options) == 2
    message = capsys.readouterr().err
    assert problem in message
    assert message.count("\n") == 1


def test_images_that_were_trained_on_are_refused(stored, capsys):
    assert stored.measure(heldout=stored.train.folder) == 2
    assert "these images were trained on" in capsys.readouterr().err


def test_other_latents_than_those_trained_on_are_refused(stored, capsys):
    stored.write_trained(latents="f" * 64)
    assert stored.measure() == 2
    assert "was trained on" in capsys.readouterr().err
