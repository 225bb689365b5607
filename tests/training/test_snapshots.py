"""Stored models: names and dtypes, and reconstruction against the brute-force average over all steps."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.damage import flip_bit
from helpers.ema_profiles import closed_form
from safetensors import safe_open

from mpdit.experiment.ema_profiles import fit_profile
from mpdit.experiment.schedule import snapshot_steps
from mpdit.experiment.snapshot_files import list_snapshots
from mpdit.system.errors import UserError
from mpdit.training.ema import PowerEMA
from mpdit.training.flat_tensors import FlatTensors
from mpdit.training.snapshots import reconstruct, save_snapshot

WIDTHS = (0.05, 0.10)

# --- Files ---


def test_names_metadata_and_dtypes_of_snapshots(tmp_path):
    tensors = {"gain": torch.tensor(1e-6), "huge": torch.full((1, 1), 1e6), "w": torch.full((2, 2), 1 / 3)}
    for width in (0.10, 0.05, 0.0525, None):
        path = save_snapshot(tmp_path, 7, width, tensors, "float16", {"run": "a run"})
    (tmp_path / ".step-00000007-width-0.050.123.part.safetensors").write_bytes(b"half")
    (tmp_path / "step-notes.safetensors").write_bytes(b"foreign")
    assert [(s.step, s.width) for s in list_snapshots(tmp_path)] == [(7, 0.05), (7, 0.0525), (7, 0.10), (7, None)]
    assert path.name == "step-00000007-plain.safetensors"
    assert (tmp_path / "step-00000007-width-0.050.safetensors").exists()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        assert metadata.pop("file_xxh3_128")
        assert metadata == {"run": "a run", "step": "7", "width": "plain"}
        dtypes = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert dtypes == {"gain": torch.float32, "huge": torch.float32, "w": torch.float16}
    assert list_snapshots(tmp_path / "none") == []
    with pytest.raises(UserError, match="snapshot_dtype: 'bfloat16': must be one of float16, float32"):
        save_snapshot(tmp_path, 7, 0.1, tensors, "bfloat16")


# --- Reconstruction ---


class History:
    """Parameters of every step (steps, n), with averages tracked and stored as in a training run."""

    def __init__(self, folder, parameters, steps, dtype="float32"):
        self.folder, self.parameters = folder, parameters.double().numpy()
        current = {"w": parameters[0].clone().view(1, -1)}
        self.average = PowerEMA(FlatTensors([current]), WIDTHS)
        for step in range(1, len(parameters) + 1):
            current["w"].copy_(parameters[step - 1])
            self.average.update(step)
            if step in steps:
                for width, tensors in self.average.averages.items():
                    save_snapshot(folder, step, width, tensors, dtype)

    def brute_force(self, width, step):
        """Return the average over all steps' parameters, float64."""
        return closed_form(range(1, step + 1), width) @ self.parameters[:step]

    def error(self, width, step):
        """Return the relative error of the reconstruction against `brute_force`, and the residual that it reports."""
        tensors, residual = reconstruct(self.folder, width, step)
        expected = self.brute_force(width, step)
        return np.linalg.norm(tensors["w"].numpy() - expected) / np.linalg.norm(expected), residual


def noise(steps, n, seed=0):
    return torch.randn(steps, n, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def white(tmp_path_factory):
    """1500 steps of 3000 parameters that are independent from step to step, the worst case."""
    return History(tmp_path_factory.mktemp("white"), noise(1500, 3000), snapshot_steps(1500, 64))


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """1500 steps of a random walk of 3000 parameters."""
    return History(tmp_path_factory.mktemp("walk"), noise(1500, 3000).cumsum(0), snapshot_steps(1500, 64))


@pytest.mark.parametrize(("width", "step"), [(0.02, 1500), (0.03, 1500), (0.07, 1500), (0.2, 1500), (0.03, 750)])
def test_the_residual_is_the_error_on_pure_noise(white, width, step):
    error, residual = white.error(width, step)
    assert error == pytest.approx(residual, rel=0.1, abs=1e-5)  # 3000 samples; profiles sampled at 1500 steps


@pytest.mark.parametrize(("step", "tolerance"), [(750, 5e-4), (1500, 1e-4)])  # relative L2; 32 and 64 times
@pytest.mark.parametrize("width", [0.03, 0.04, 0.075, 0.15, 0.2])
def test_the_reconstruction_of_a_random_walk_is_its_brute_force_average(walk, width, step, tolerance):
    error, residual = walk.error(width, step)
    assert error < tolerance
    assert error < residual / 10


def test_a_tracked_width_is_read_back_exactly(walk):
    for width, tensors in walk.average.averages.items():
        average, residual = reconstruct(walk.folder, width, 1500)
        assert torch.equal(average["w"], tensors["w"])
        assert residual == 0
        assert average["w"].dtype == torch.float32
        assert walk.error(width, 1500)[0] < 1e-6  # float32 over 1500 updates


def test_float16_snapshots_add_only_their_rounding_error(tmp_path):
    history = History(tmp_path, noise(1500, 3000).cumsum(0), snapshot_steps(1500, 64), "float16")
    for width, tensors in history.average.averages.items():
        assert torch.equal(reconstruct(tmp_path, width, 1500)[0]["w"], tensors["w"].half().float())
    profiles = [(s.step, s.width) for s in list_snapshots(tmp_path)]
    for width in (0.03, 0.075, 0.2):
        coefficients, _ = fit_profile(profiles, 1500, width)
        rounding = 2.1e-4 * np.linalg.norm(coefficients)  # float16 rounds by 2.1e-4 (root mean square, relative)
        assert history.error(width, 1500)[0] < 1.2 * rounding + 1e-4
        assert history.error(width, 1500)[0] < 1.5e-3


def test_averages_of_a_continued_run_with_other_spacing_are_reconstructed(tmp_path):
    steps = {*snapshot_steps(1000, 20), *(s for s in snapshot_steps(1700, 27) if s > 1000), 1001}
    history = History(tmp_path, noise(1700, 2000), steps)
    for width in (0.05, 0.06, 0.15):
        error, residual = history.error(width, 1700)
        assert error == pytest.approx(residual, rel=0.1, abs=1e-6)
        assert residual < 0.01
    assert history.error(0.07, 1001)[0] < 0.01  # solvable even with two snapshots one step apart


def test_plain_weights_are_stored_beside_the_averages(walk, tmp_path):
    save_snapshot(tmp_path, 9, None, {"w": torch.full((1, 2), 0.1)}, "float32")
    tensors, residual = reconstruct(tmp_path, None, 9)
    assert torch.equal(tensors["w"], torch.full((1, 2), 0.1))
    assert residual == 0
    with pytest.raises(UserError, match="no plain weights at step 8: must be one of 9"):
        reconstruct(tmp_path, None, 8)
    with pytest.raises(UserError, match="no EMA snapshot at step 9: this run has stored none"):
        reconstruct(tmp_path, 0.05, 9)
    with pytest.raises(UserError, match="no plain weights at step 1500: this run has stored none"):
        reconstruct(walk.folder, None, 1500)


@pytest.mark.parametrize(
    ("width", "step", "message"),
    [
        (
            0.01,
            1500,
            r"width 0.01 at step 1500: the 128 snapshots up to this step \(widths 0.05, 0.1\) reconstruct it with an",
        ),
        (0.2, 94, r"width 0.2 at step 94: the 8 snapshots .* must be within 5%; choose a tracked width"),
        (0.05, 1499, r"no EMA snapshot at step 1499: must be one of 23, 47, 70, \.\.\. 1500 \(64 in total\)"),
        (0.35, 1500, r"EMA width: 0.35: must be above 0"),
    ],
)
def test_what_the_snapshots_cannot_reconstruct_is_an_error_in_one_line(walk, width, step, message):
    with pytest.raises(UserError, match=message) as error:
        reconstruct(walk.folder, width, step)
    assert "\n" not in str(error.value)


def test_files_with_names_that_no_snapshot_has_are_passed_over(tmp_path):
    for name in ("width-wide", "width-", "width-1e999x", "width-1..2", "width-nan", "plan", "width-0.1-copy"):
        (tmp_path / f"step-00000004-{name}.safetensors").touch()
    assert list_snapshots(tmp_path) == []


def test_damaged_or_foreign_snapshots_are_errors_that_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: found no snapshots"):
        reconstruct(tmp_path / "nowhere", 0.05, 1)
    for step in (1, 2):
        save_snapshot(tmp_path, step, 0.05, {"w": torch.ones(4, 4)})
        save_snapshot(tmp_path, step, 0.10, {"w": torch.ones(4, 4)})
    reconstruct(tmp_path, 0.055, 2)
    save_snapshot(tmp_path, 1, 0.05, {"w": torch.ones(4, 5)})
    with pytest.raises(UserError, match=r"w: found shape \(4, 4\), must be \(4, 5\) as in step-00000001-width-0.050"):
        reconstruct(tmp_path, 0.055, 2)
    path = save_snapshot(tmp_path, 1, 0.05, {"v": torch.ones(4, 4)})
    with pytest.raises(UserError, match=r"holds other parameters than step-00000001-width-0.050.safetensors"):
        reconstruct(tmp_path, 0.055, 2)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"step-00000001-width-0.050.safetensors: damaged: its content does not match"):
        reconstruct(tmp_path, 0.055, 2)


def test_a_flipped_bit_and_a_swapped_snapshot_are_errors_that_name_the_file(tmp_path):
    first, second = (save_snapshot(tmp_path, step, 0.05, {"w": torch.ones(4, 4)}) for step in (1, 2))
    flip_bit(second, -1)
    with pytest.raises(UserError, match=r"step-00000002-width-0.050.safetensors: damaged: its content does not match"):
        reconstruct(tmp_path, 0.05, 2)
    shutil.copy(first, second)
    with pytest.raises(UserError, match="damaged: holds the model of step 1, must be of step 2"):
        reconstruct(tmp_path, 0.05, 2)
    shutil.copy(save_snapshot(tmp_path, 2, 0.1, {"w": torch.ones(4, 4)}), second)
    with pytest.raises(UserError, match=r"holds the model of width 0.1, must be of width 0.05"):
        reconstruct(tmp_path, 0.05, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_reconstruction_holds_at_most_three_models_in_memory(tmp_path):
    """16 snapshots of 24 MB in float32: the peak may rise by three, and must rise by one: else the test is void."""
    model = {f"w{i}": torch.ones(1000, 1000) for i in range(6)}
    for step in range(1, 9):
        for width in WIDTHS:
            save_snapshot(tmp_path, step, width, model, "float32")
    script = """
import re, sys
from mpdit.training.snapshots import reconstruct
def memory(key): return int(re.search(key + r":\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = memory("VmRSS")
tensors, _ = reconstruct(sys.argv[1], 0.07, 8)
print(memory("VmHWM") - before)
"""
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert 24 <= float(run.stdout) <= 3 * 24
