"""Power-function EMAs: the closed form, tracking at any interval, snapshots, reconstruction against brute force."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from mpdit.experiment.schedule import snapshot_steps
from mpdit.system.errors import UserError
from mpdit.training import ema

WIDTHS = (0.05, 0.10)


def closed_form(ends, width):
    """What the profile at `ends[-1]` gives to each interval (ends[k-1], ends[k]] (float64, sums to one)."""
    power = ema.width_to_gamma(width) + 1
    return np.diff((np.array([0, *ends], dtype=np.float64) / ends[-1]) ** power)


# --- Profiles ---


@given(st.floats(0.001, 0.288))
def test_width_and_gamma_are_inverse(width):
    assert ema.gamma_to_width(ema.width_to_gamma(width)) == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("width", [0.01, 0.05, 0.10, 0.25, ema.WIDEST])
def test_width_is_the_standard_deviation_of_the_profile(width):
    gamma = ema.width_to_gamma(width)
    mass, mean, square = (quad(lambda x, k=k: (gamma + 1) * x ** (gamma + k), 0, 1)[0] for k in (0, 1, 2))
    assert mass == pytest.approx(1)
    assert math.sqrt(square - mean**2) == pytest.approx(width, rel=1e-6)


@pytest.mark.parametrize("width", [0, -0.1, 0.3, float("nan")])
def test_impossible_widths_are_refused(width):
    with pytest.raises(UserError, match=r"EMA width: .*must be above 0 and at most 0\.2887"):
        ema.width_to_gamma(width)


@given(*[st.floats(0, 40), st.floats(1, 100)] * 2)
def test_inner_product_is_the_integral(gamma_a, time_a, gamma_b, time_b):
    def profile(gamma, time, x):
        return (gamma + 1) / time * (x / time) ** gamma

    early = min(time_a, time_b)
    integral = quad(lambda x: profile(gamma_a, time_a, x) * profile(gamma_b, time_b, x), 0, early)[0]
    assert ema.inner_product(gamma_a, time_a, gamma_b, time_b) == pytest.approx(integral, rel=1e-6, abs=1e-12)


def test_inner_product_survives_long_runs_and_narrow_widths():
    gamma = ema.width_to_gamma(0.001)  # 998: 400000^998 is no float
    product = ema.inner_product(gamma, 399_000, gamma, 400_000)
    assert product == pytest.approx((gamma + 1) ** 2 / (2 * gamma + 1) / 4e5 * 0.9975**gamma)


# --- Tracking ---


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.sampled_from([0.03, 0.05, 0.10, 0.25]))
@settings(deadline=None)
def test_updates_at_any_interval_give_the_closed_form(intervals, width):
    ends = np.cumsum(intervals).tolist()
    parameter = torch.full(
        (len(ends),), 7.0
    )  # the k-th update sees the k-th unit vector, so the average is its weights
    average = ema.PowerEMA({"w": parameter}, [width])
    for k, (end, dt) in enumerate(zip(ends, intervals, strict=True)):
        parameter.copy_(torch.eye(len(ends))[k])
        average.update(end, dt)
    weights = average.averages[width]["w"].double().numpy()
    np.testing.assert_allclose(weights, closed_form(ends, width), atol=1e-6)  # float32 over 40 updates
    gamma = ema.width_to_gamma(width)
    (start, end) = list(pairwise([0, *ends]))[-1]
    continuous = quad(lambda x: (gamma + 1) / ends[-1] * (x / ends[-1]) ** gamma, start, end)[0]
    assert weights[-1] == pytest.approx(continuous, abs=1e-6)


def test_first_update_forgets_the_start_exactly():
    parameter = torch.randn(5)
    average = ema.PowerEMA({"w": parameter}, WIDTHS)
    parameter.add_(1)
    average.update(3, dt=3)
    assert all(torch.equal(average.averages[width]["w"], parameter) for width in WIDTHS)


@pytest.mark.parametrize(("step", "dt"), [(0, 1), (3, 4), (3, 0)])
def test_impossible_intervals_are_refused(step, dt):
    with pytest.raises(ValueError, match="dt"):
        ema.beta(step, dt, 6.94)


def test_update_never_waits_for_the_device():
    average = ema.PowerEMA({"w": torch.empty(3, 3, device="meta")}, WIDTHS)
    average.update(1)  # a meta tensor raises when its values are asked for
    average.update(2)


def test_averages_follow_the_optimizer_and_survive_a_checkpoint():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = ema.PowerEMA(dict(model.named_parameters()), WIDTHS)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    average.update(1)
    assert torch.equal(average.averages[0.05]["weight"], model.weight)
    restored = ema.PowerEMA(dict(torch.nn.Linear(3, 2).named_parameters()), WIDTHS)
    restored.load_state_dict({name: tensor.clone() for name, tensor in average.state_dict().items()})
    assert restored.state_dict().keys() == {"0.05/weight", "0.05/bias", "0.1/weight", "0.1/bias"}
    assert all(torch.equal(tensor, average.state_dict()[name]) for name, tensor in restored.state_dict().items())
    with pytest.raises(UserError, match=r"EMA state: '0.1/bias'"):
        ema.PowerEMA(dict(model.named_parameters()), [0.05]).load_state_dict(average.state_dict())


# --- Snapshots ---


def test_snapshot_steps_are_even_and_end_at_the_last():
    assert snapshot_steps(1500, 64)[-2:] == [1477, 1500]
    assert set(np.diff([0, *snapshot_steps(1500, 64)])) == {23, 24}
    assert snapshot_steps(3, 64) == [1, 2, 3]
    assert set(snapshot_steps(3000, 32)) <= set(snapshot_steps(3000, 64))
    with pytest.raises(UserError, match="snapshots: 0 in 10 steps"):
        snapshot_steps(10, 0)


def test_snapshots_say_what_they_hold(tmp_path):
    tensors = {"gain": torch.tensor(1e-6), "huge": torch.full((1, 1), 1e6), "w": torch.full((2, 2), 1 / 3)}
    for width in (0.10, 0.05, 0.0525, None):
        path = ema.save_snapshot(tmp_path, 7, width, tensors, "float16", {"run": "a run"})
    (tmp_path / ".step-00000007-width-0.050.123.part.safetensors").write_bytes(b"half")
    (tmp_path / "step-notes.safetensors").write_bytes(b"foreign")
    assert [(s.step, s.width) for s in ema.list_snapshots(tmp_path)] == [(7, 0.05), (7, 0.0525), (7, 0.10), (7, None)]
    assert path.name == "step-00000007-plain.safetensors"
    assert (tmp_path / "step-00000007-width-0.050.safetensors").exists()
    with ema.safe_open(path, framework="pt") as file:
        assert file.metadata() == {"run": "a run", "step": "7", "width": "plain"}
        dtypes = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert dtypes == {"gain": torch.float32, "huge": torch.float32, "w": torch.float16}
    assert ema.list_snapshots(tmp_path / "none") == []
    with pytest.raises(UserError, match="snapshot_dtype: 'bfloat16': must be one of float16, float32"):
        ema.save_snapshot(tmp_path, 7, 0.1, tensors, "bfloat16")


# --- Reconstruction ---


class History:
    """Parameters of every step (steps, n), their averages tracked and stored as a training run does."""

    def __init__(self, folder, parameters, steps, dtype="float32"):
        self.folder, self.parameters = folder, parameters.double().numpy()
        current = {"w": parameters[0].clone().view(1, -1)}
        self.average = ema.PowerEMA(current, WIDTHS)
        for step in range(1, len(parameters) + 1):
            current["w"].copy_(parameters[step - 1])
            self.average.update(step)
            if step in steps:
                for width, tensors in self.average.averages.items():
                    ema.save_snapshot(folder, step, width, tensors, dtype)

    def brute_force(self, width, step):
        return closed_form(range(1, step + 1), width) @ self.parameters[:step]

    def error(self, width, step):
        """Of the reconstruction against all steps' weights averaged, relative; and the residual it reports."""
        tensors, residual = ema.reconstruct(self.folder, width, step)
        wanted = self.brute_force(width, step)
        return np.linalg.norm(tensors["w"].numpy() - wanted) / np.linalg.norm(wanted), residual


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
def test_residual_is_the_error_on_pure_noise(white, width, step):
    error, residual = white.error(width, step)
    assert error == pytest.approx(residual, rel=0.1, abs=1e-5)  # 3000 samples; profiles sampled at 1500 steps


@pytest.mark.parametrize(("step", "tolerance"), [(750, 5e-4), (1500, 1e-4)])  # relative L2; 32 and 64 times
@pytest.mark.parametrize("width", [0.03, 0.04, 0.075, 0.15, 0.2])
def test_reconstruction_of_a_random_walk_is_its_brute_force_average(walk, width, step, tolerance):
    error, residual = walk.error(width, step)
    assert error < tolerance
    assert error < residual / 10


def test_a_tracked_width_comes_back_exactly(walk):
    for width, tensors in walk.average.averages.items():
        rebuilt, residual = ema.reconstruct(walk.folder, width, 1500)
        assert torch.equal(rebuilt["w"], tensors["w"])
        assert residual == 0
        assert rebuilt["w"].dtype == torch.float32
        assert walk.error(width, 1500)[0] < 1e-6  # float32 over 1500 updates


def test_float16_snapshots_add_their_rounding_and_no_more(tmp_path):
    history = History(tmp_path, noise(1500, 3000).cumsum(0), snapshot_steps(1500, 64), "float16")
    for width, tensors in history.average.averages.items():
        assert torch.equal(ema.reconstruct(tmp_path, width, 1500)[0]["w"], tensors["w"].half().float())
    profiles = [(s.step, s.width) for s in ema.list_snapshots(tmp_path)]
    for width in (0.03, 0.075, 0.2):
        coefficients, _ = ema.fit_profile(profiles, 1500, width)
        rounding = 2.1e-4 * np.linalg.norm(coefficients)  # float16 rounds by 2.1e-4 (root mean square, relative)
        assert history.error(width, 1500)[0] < 1.2 * rounding + 1e-4
        assert history.error(width, 1500)[0] < 1.5e-3


def test_a_continued_run_with_other_spacing_is_rebuilt(tmp_path):
    steps = {*snapshot_steps(1000, 20), *(s for s in snapshot_steps(1700, 27) if s > 1000), 1001}
    history = History(tmp_path, noise(1700, 2000), steps)
    for width in (0.05, 0.06, 0.15):
        error, residual = history.error(width, 1700)
        assert error == pytest.approx(residual, rel=0.1, abs=1e-6)
        assert residual < 0.01
    assert history.error(0.07, 1001)[0] < 0.01  # two snapshots one step apart leave the system solvable


@pytest.mark.parametrize(("times", "worst"), [(16, 0.039), (32, 0.0112), (64, 0.003), (128, 0.0008), (250, 0.0002)])
def test_residuals_are_those_that_snapshot_steps_documents(times, worst):
    profiles = [(step, width) for step in snapshot_steps(400_000, times) for width in WIDTHS]
    fits = [ema.fit_profile(profiles, 400_000, width) for width in (0.03, 0.04, 0.06, 0.075, 0.125, 0.15, 0.2)]
    assert max(residual for _, residual in fits) == pytest.approx(worst, rel=0.1)
    assert all(coefficients.sum() == pytest.approx(1, abs=1e-12) for coefficients, _ in fits)


def test_plain_weights_are_kept_beside_the_averages(walk, tmp_path):
    ema.save_snapshot(tmp_path, 9, None, {"w": torch.full((1, 2), 0.1)}, "float32")
    tensors, residual = ema.reconstruct(tmp_path, None, 9)
    assert torch.equal(tensors["w"], torch.full((1, 2), 0.1))
    assert residual == 0
    with pytest.raises(UserError, match="no plain weights at step 8: must be one of 9"):
        ema.reconstruct(tmp_path, None, 8)
    with pytest.raises(UserError, match="no EMA snapshot at step 9: this run has stored none"):
        ema.reconstruct(tmp_path, 0.05, 9)
    with pytest.raises(UserError, match="no plain weights at step 1500: this run has stored none"):
        ema.reconstruct(walk.folder, None, 1500)


@pytest.mark.parametrize(
    ("width", "step", "message"),
    [
        (
            0.01,
            1500,
            r"width 0.01 at step 1500: the 128 snapshots up to there, of widths 0.05, 0.1, rebuild it only to",
        ),
        (0.2, 94, r"width 0.2 at step 94: the 8 snapshots .* must be within 5%; take a tracked width"),
        (0.05, 1499, r"no EMA snapshot at step 1499: must be one of 23, 47, 70, \.\.\. 1500 \(64 in all\)"),
        (0.35, 1500, r"EMA width: 0.35: must be above 0"),
    ],
)
def test_what_the_snapshots_cannot_carry_is_refused_in_one_line(walk, width, step, message):
    with pytest.raises(UserError, match=message) as refused:
        ema.reconstruct(walk.folder, width, step)
    assert "\n" not in str(refused.value)


def test_broken_snapshot_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no snapshots"):
        ema.reconstruct(tmp_path / "nowhere", 0.05, 1)
    for step in (1, 2):
        ema.save_snapshot(tmp_path, step, 0.05, {"w": torch.ones(4, 4)})
        ema.save_snapshot(tmp_path, step, 0.10, {"w": torch.ones(4, 4)})
    ema.reconstruct(tmp_path, 0.055, 2)
    ema.save_snapshot(tmp_path, 1, 0.05, {"w": torch.ones(4, 5)})
    with pytest.raises(UserError, match=r"w is \(4, 4\): must be \(4, 5\)"):
        ema.reconstruct(tmp_path, 0.055, 2)
    path = ema.save_snapshot(tmp_path, 1, 0.05, {"v": torch.ones(4, 4)})
    with pytest.raises(UserError, match=r"holds other parameters than step-00000001-width-0.050.safetensors"):
        ema.reconstruct(tmp_path, 0.055, 2)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"step-00000001-width-0.050.safetensors: damaged snapshot"):
        ema.reconstruct(tmp_path, 0.055, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_reconstruction_holds_three_models_at_most(tmp_path):
    """16 snapshots of 24 MB in float32: the peak may rise by three of them, and must by one (so that it can fail)."""
    model = {f"w{i}": torch.ones(1000, 1000) for i in range(6)}
    for step in range(1, 9):
        for width in WIDTHS:
            ema.save_snapshot(tmp_path, step, width, model, "float32")
    script = """
import re, sys
from mpdit import ema
def memory(key): return int(re.search(key + r":\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = memory("VmRSS")
tensors, _ = ema.reconstruct(sys.argv[1], 0.07, 8)
print(memory("VmHWM") - before)
"""
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert 24 <= float(run.stdout) <= 3 * 24
