"""The step of training, which the trainer takes and the benchmark times."""

import pytest
import torch
from helpers.tiny_models import awaken, tiny
from helpers.tiny_runs import make_spec

from mpdit.data.latents import Latents
from mpdit.training.distributed import Ranks
from mpdit.training.step import TrainingBatch, TrainingStep
from mpdit.training.step_time import step_on_batch
from mpdit.training.trainer import Trainer


def batch(n=4):
    random = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(n, 2, 4, 4, generator=random) for _ in range(2))
    return TrainingBatch(x0, noise, torch.arange(n) * 200, torch.arange(n) % 3)


def make_step(model, **options):
    return TrainingStep(model, **{"lr": 1e-3, "betas": (0.9, 0.99), "precision": "float32", **options})


def test_the_trainer_and_the_benchmark_take_the_same_step(latents, monkeypatch):
    taken = []
    call = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", lambda self, *batch: taken.append(self) or call(self, *batch))
    trainer = Trainer(make_spec(), Latents(latents), Ranks(0, 1, torch.device("cpu")))
    trainer.advance()
    assert taken == [trainer.training_step]
    step_on_batch(tiny("E"), batch())()
    assert len(taken) == 2


def test_a_step_returns_the_sums_of_its_losses_and_the_gradient_norm_and_frees_the_gradients():
    model = awaken(tiny("E"))
    sums, norm = make_step(model)(batch())
    assert sums.shape == (10,) and sums[6:].tolist() == [2, 1, 1, 0]  # images per quarter of the timesteps
    assert sums.isfinite().all() and norm > 0
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("config", ["A", "E"])
def test_the_rate_factor_scales_the_update(config):
    updates = []
    for factor in (1.0, 0.5):
        model = awaken(tiny(config))
        gain = model.final.output.weight if config == "A" else model.final.output.gain
        before = gain.detach().clone()
        make_step(model)(batch(), factor)
        updates.append(gain.detach() - before)
    torch.testing.assert_close(updates[1], updates[0] / 2, rtol=1e-4, atol=1e-7)
    assert updates[0].abs().max() > 0


def test_clipping_leaves_the_reported_norm_as_it_was():
    norms = [make_step(awaken(tiny("E")), gradient_clip=clip)(batch())[1].item() for clip in (None, 1e-3)]
    assert norms[0] == norms[1] > 1e-3
