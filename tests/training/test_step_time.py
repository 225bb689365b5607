"""Step times are compared within rounds, and the steps are real ones in both forms."""

import csv
import time

import numpy as np
import pytest
import torch

from mpdit.__main__ import main
from mpdit.model.dit import create_model
from mpdit.model.flops import flops
from mpdit.training import step_time
from mpdit.training.step import TrainingBatch


def tiny(letter="E", modulation="scale_shift", **fields):
    return create_model("DiT-Nano/2", letter, modulation, input_size=8, in_channels=1, num_classes=10, seed=0, **fields)


def batch(n=4):
    draw = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(n, 1, 8, 8, generator=draw) for _ in range(2))
    return TrainingBatch(x0, noise, torch.arange(n) * 200, torch.arange(n))


def test_variants_take_turns_in_a_rotating_order():
    calls = []
    variants = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = step_time.step_times(variants, rounds=4)
    assert "".join(calls) == "abcabc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_machine_that_slows_down_changes_no_ratio(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    calls = []

    def variant(work):
        def call():
            calls.append(work)
            clock[0] += work * (1 + (len(calls) - 1) // 2)  # each round (or warm-up) of two calls is slower

        return call

    times = step_time.step_times({"a": variant(1.0), "b": variant(1.25)}, rounds=7)
    assert max(times["a"]) > 2 * min(times["a"])
    assert step_time.relative_time(times["b"], times["a"]) == pytest.approx((1.25, 1.25, 1.25))


def test_interval_of_the_median_covers_it():
    assert step_time.relative_time([3, 1, 2, 6, 5, 4], [1] * 6) == (3.5, 1, 6)
    assert step_time.relative_time(range(1, 41), [1] * 40) == (20.5, 14, 27)  # tables of the sign test
    assert step_time.relative_time([2, 1, 3], [1] * 3) == (2, 1, 3)
    draws = np.random.default_rng(0).lognormal(0.1, 0.5, (2000, 25))
    bounds = [step_time.relative_time(ratios, np.ones(25))[1:] for ratios in draws]
    covered = np.mean([low <= np.exp(0.1) <= high for low, high in bounds])
    assert 0.95 <= covered < 0.975


def test_textbook_and_cheap_form_make_the_same_steps():
    """So that what is compared in time is the same training."""
    cheap, textbook = tiny("E"), tiny("E", weights="normalized")
    before = {name: parameter.detach().clone() for name, parameter in cheap.named_parameters()}
    steps = [step_time.step_on_batch(cheap, batch()), step_time.step_on_batch(textbook, batch(), textbook=True)]
    for step in steps:
        for _ in range(3):
            step()
    other = dict(textbook.named_parameters())
    moved = 0
    for name, parameter in cheap.sphere_rows().items():
        n = parameter.shape[1]
        norms = parameter.detach().norm(dim=1)
        torch.testing.assert_close(norms, torch.ones_like(norms))
        torch.testing.assert_close(other[name].detach() / n**0.5, parameter.detach(), rtol=1e-3, atol=1e-6)
        moved += not torch.equal(parameter, before[name])
    assert moved > 10


@pytest.mark.parametrize(("letter", "textbook"), [("A", False), ("C", False), ("C", True)])
def test_only_the_textbook_form_forces_stored_rows(letter, textbook):
    model = tiny(letter)
    step = step_time.step_on_batch(model, batch(), textbook=textbook)
    rows = model.blocks[0].mlp.up.weight
    start = rows.detach().norm(dim=1)
    for _ in range(3):
        step()
    on_sphere = torch.allclose(rows.detach().norm(dim=1), start, rtol=0, atol=1e-5)
    assert on_sphere == textbook
    assert all(parameter.grad is None for parameter in model.parameters())


# --- The stage ---


@pytest.fixture
def run(tmp_path, tiny_latents):
    """A function that runs the stage with more options: its rows, or its exit status where that is not 0."""

    def call(*options):
        output = tmp_path / "cost.csv"
        common = ["--latents", str(tiny_latents), "--batch-size", "2", "--rounds", "6"]
        status = main(["cost", *common, "--output", str(output), "--device", "cpu", *options])
        if status:
            return status
        with open(output, newline="") as file:
            return list(csv.DictReader(file))

    return call


def test_cost_of_letters_and_modulations(run, monkeypatch):
    seconds = {("A", "cheap"): 2.0, ("C", "cheap"): 2.4, ("E", "cheap"): 2.1, ("E", "textbook"): 2.6}
    slower = {"scale_shift": 1, "scale_rotate": 1.5}

    def step_times(variants, rounds):
        for step in variants.values():
            step()
        return {
            variant: [
                slower[variant.modulation] * seconds[variant.config, variant.form] * (1 + i) for i in range(rounds)
            ]
            for variant in variants
        }

    forms = []
    step_on_batch = step_time.step_on_batch
    monkeypatch.setattr(step_time, "step_times", step_times)
    monkeypatch.setattr(
        step_time,
        "step_on_batch",
        lambda model, batch, *, textbook, **options: (
            forms.append((model.config.weights, textbook)) or step_on_batch(model, batch, textbook=textbook, **options)
        ),
    )
    rows = run("--variants", "DiT-Nano/2:scale_shift:A,C,E", "DiT-Nano/2:scale_rotate:A,C,E")
    assert [(row["modulation"], row["config"], row["form"]) for row in rows] == [
        (modulation, *variant) for modulation in ("scale_shift", "scale_rotate") for variant in seconds
    ]
    made = [("plain", False), ("normalized", False), ("forced", False), ("normalized", True)]
    assert forms == [*made, ("plain", False), *made]  # the second time with scale_shift's A beside them
    for row in rows:
        model = tiny(row["config"], row["modulation"])
        assert int(row["parameters"]) == sum(parameter.numel() for parameter in model.parameters())
        assert int(row["flops"]) == flops(model)
        own = slower[row["modulation"]] * seconds[row["config"], row["form"]]
        assert float(row["step_seconds"]) == pytest.approx(own * 3.5)  # the median of 1 to 6 times it
        assert [float(row[f"relative{bound}"]) for bound in ("", "_low", "_high")] == pytest.approx(3 * [own / 2])
        assert (row["model"], row["rounds"], row["device"], row["threads"]) == ("DiT-Nano/2", "6", "cpu", "1")


def test_cost_is_measured(run):
    baseline, other = run("--variants", "DiT-Nano/2:scale_shift:A,B")
    assert (baseline["relative"], baseline["relative_high"]) == ("1.0000", "1.0000")
    assert float(other["relative_low"]) <= float(other["relative"]) <= float(other["relative_high"])
    assert float(other["relative_low"]) < float(other["relative_high"])
    assert 0 < float(other["step_seconds"]) < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variants", "DiT-Nano/2:scale_shift:A,F"], "A,F: unknown config 'F'"),
        (["--variants", "DiT-Nano/2:twist:A"], "twist:A: unknown modulation 'twist': must be one of scale, shift"),
        (["--variants", "DiT-Nano/2:A"], "--variants: DiT-Nano/2:A: must be MODEL:MODULATION:CONFIGS"),
        (["--rounds", "5"], "--rounds: 5: must be at least 6"),
        (["--variants", "DiT-Nano/2:scale:A", "DiT-Q/2:scale:A"], "unknown model 'DiT-Q/2'"),
        (["--batch-size", "0"], "--batch-size: 0: must be at least 1"),
        (["--latents", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_cost_names_what_is_wrong(run, capsys, options, message):
    assert run(*([] if "--variants" in options else ["--variants", "DiT-Nano/2:scale_shift:A"]), *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
