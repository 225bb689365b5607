"""Step times are compared within rounds, and both forms of forced weights are timed on steps that really train."""

import time

import numpy as np
import pytest
import torch

from mpdit.experiment.columns import COST
from mpdit.experiment.ladder import SHIPPED
from mpdit.model.dit import create_model
from mpdit.model.flops import flops
from mpdit.training import step_time
from mpdit.training.step import TrainingBatch


def tiny(config="E", modulation="scale_shift", **fields):
    return create_model("DiT-Nano/2", config, modulation, input_size=8, in_channels=1, num_classes=10, seed=0, **fields)


def measure(modulation, configs, rounds):
    """Measure the step times of the models that `tiny` makes."""
    return step_time.measure(
        "DiT-Nano/2",
        modulation,
        configs,
        SHIPPED,
        shape=(1, 8, 8),
        num_classes=10,
        batch_size=2,
        rounds=rounds,
        precision="float32",
        device=torch.device("cpu"),
        compile=False,
    )


def batch(n=4):
    random = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(n, 1, 8, 8, generator=random) for _ in range(2))
    return TrainingBatch(x0, noise, torch.arange(n) * 200, torch.arange(n))


def test_variants_take_turns_in_a_rotating_order():
    calls = []
    variants = {name: lambda name=name: calls.append(name) for name in "abc"}
    times = step_time.step_times(variants, rounds=4)
    assert "".join(calls) == "abcabc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_machine_that_slows_down_does_not_change_the_ratios(monkeypatch):
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


def test_the_interval_covers_the_median_as_often_as_stated():
    assert step_time.relative_time([3, 1, 2, 6, 5, 4], [1] * 6) == (3.5, 1, 6)
    assert step_time.relative_time(range(1, 41), [1] * 40) == (20.5, 14, 27)  # from tables of the sign test
    assert step_time.relative_time([2, 1, 3], [1] * 3) == (2, 1, 3)
    samples = np.random.default_rng(0).lognormal(0.1, 0.5, (2000, 25))
    bounds = [step_time.relative_time(ratios, np.ones(25))[1:] for ratios in samples]
    covered = np.mean([low <= np.exp(0.1) <= high for low, high in bounds])
    assert 0.95 <= covered < 0.975


def test_the_textbook_and_the_cheap_form_take_the_same_steps():
    """What is compared in time is therefore the same training."""
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


@pytest.mark.parametrize(("config", "textbook"), [("A", False), ("C", False), ("C", True)])
def test_only_the_textbook_form_forces_stored_rows(config, textbook):
    model = tiny(config)
    step = step_time.step_on_batch(model, batch(), textbook=textbook)
    rows = model.blocks[0].mlp.up.weight
    start = rows.detach().norm(dim=1)
    for _ in range(3):
        step()
    on_sphere = torch.allclose(rows.detach().norm(dim=1), start, rtol=0, atol=1e-5)
    assert on_sphere == textbook
    assert all(parameter.grad is None for parameter in model.parameters())


# --- Rows of cost.csv ---


def test_forced_weights_give_a_row_per_form_and_all_are_relative_to_the_baseline(monkeypatch):
    seconds = {("A", "cheap"): 2.0, ("C", "cheap"): 2.4, ("E", "cheap"): 2.1, ("E", "textbook"): 2.6}
    slower = {"scale_shift": 1, "scale_rotate": 1.5}
    timed = []

    def step_times(variants, rounds):
        for step in variants.values():
            step()
        timed.extend(variants)
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
    for modulation in slower:
        rows = measure(modulation, ["A", "C", "E"], rounds=6)
        assert [(row.modulation, row.config, row.form) for row in rows] == [
            (modulation, *variant) for variant in seconds
        ]
        for row in rows:
            model = tiny(row.config, row.modulation)
            assert row.parameters == sum(parameter.numel() for parameter in model.parameters())
            assert row.flops == flops(model)
            own = slower[row.modulation] * seconds[row.config, row.form]
            assert row.step_seconds == pytest.approx(own * 3.5)  # the median of 1 to 6 times it
            assert [row.relative, row.relative_low, row.relative_high] == pytest.approx(3 * [own / 2])
            assert (row.model, row.rounds, row.device) == ("DiT-Nano/2", 6, "cpu")
    expected = [("plain", False), ("normalized", False), ("forced", False), ("normalized", True)]
    assert forms == [*expected, ("plain", False), *expected]  # the second time with scale_shift's Config A beside them
    assert timed.count(step_time.BASELINE) == 2


def test_the_baseline_is_timed_even_where_it_gets_no_row():
    (row,) = measure("scale_shift", ["B"], rounds=6)
    assert row.config == "B"
    assert row.relative_low < row.relative_high
    assert row.relative_low <= row.relative <= row.relative_high
    assert 0 < row.step_seconds < 5


def test_a_row_has_the_columns_of_cost_csv():
    row = step_time.StepTime("DiT-S/2", "E", "scale", "cheap", 10, 20, 0.123456789, 1.04567, 1.0, 1.1, 40, "cpu", 1)
    assert tuple(row.cells()) == COST.names
    assert (row.cells()["step_seconds"], row.cells()["relative"], row.cells()["flops"]) == ("0.123457", "1.0457", "20")
