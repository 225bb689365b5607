"""The held-out loss of a model."""

import math

import numpy as np
import pytest
import torch
from helpers.made_up_latents import made_up_latents
from helpers.tiny_models import awaken, tiny
from torch import nn

from mpdit.evaluation.heldout import draws_of, heldout_losses
from mpdit.evaluation.heldout_parts import parts_of

DRAWS = 34  # its strata cross the borders of the quarters


@pytest.fixture
def parts(tmp_path):
    train = made_up_latents(tmp_path / "train", [0] * 6 + [1] * 6 + [2] * 6, channel_mean=(0.1, 0.4))
    return parts_of(train, made_up_latents(tmp_path / "heldout", [0, 1, 2] * 2, seed=1))


class Spy(nn.Module):
    """Predicts the noise from each pixel alone, and keeps what it is shown."""

    def __init__(self, factor=0.7):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.shown = []

    def forward(self, x, t, y):
        self.shown.append((x.clone(), t.clone(), y.clone()))
        return torch.cat([self.factor * x, torch.zeros_like(x)], dim=1)


def test_draws_are_stratified_over_all_timesteps():
    t, noise = draws_of(5, 32, (2, 4, 4))
    first = torch.arange(32) * 31.25
    assert ((t + 1 > first) & (t < first + 31.25)).all()
    assert noise.shape == (32, 2, 4, 4)
    counts = torch.bincount(torch.cat([draws_of(image, 40, (1,))[0] for image in range(2000)]), minlength=1000)
    assert len(counts) == 1000
    assert abs(counts / 80 - 1).max() < 0.5  # every timestep equally often: 80 times, give or take 4.5 deviations


def test_draws_depend_on_the_image_alone():
    for one, same, other in zip(draws_of(3, 32, (2, 4)), draws_of(3, 32, (2, 4)), draws_of(4, 32, (2, 4)), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


@pytest.mark.parametrize("part", ["report", "train"])
def test_losses_are_those_of_a_loop_over_images_and_draws(parts, part):
    model = awaken(tiny("D")).eval()
    measured = heldout_losses(model, parts[part], DRAWS)
    # In float64 and without any code of the package but the model's and the draws'
    betas = np.linspace(1e-4, 2e-2, 1000)
    alpha = np.cumprod(1 - betas)
    before = np.concatenate([[1.0], alpha[:-1]])
    posterior = betas * (1 - before) / (1 - alpha)
    posterior[0] = posterior[1]
    images, by_quarter, bounds = [], [[], [], [], []], []
    for index in range(len(parts[part])):
        x0, label = (tensor[0] for tensor in parts[part].images(slice(index, index + 1)))
        errors = []
        for t, noise in zip(*draws_of(int(parts[part].draw_keys[index]), DRAWS, x0.shape), strict=True):
            step = int(t)
            x_t = math.sqrt(alpha[step]) * x0.double() + math.sqrt(1 - alpha[step]) * noise.double()
            with torch.no_grad():
                output = model(x_t.float()[None], t[None], label[None])[0].double()
            predicted, fraction = output[:2], (output[2:] + 1) / 2
            errors.append(float(((predicted - noise) ** 2).mean()))
            by_quarter[step // 250].append(errors[-1])
            weights = (
                np.sqrt(before[step]) * betas[step] / (1 - alpha[step]),
                math.sqrt(1 - betas[step]) * (1 - before[step]) / (1 - alpha[step]),
            )
            estimate = (x_t - math.sqrt(1 - alpha[step]) * predicted) / math.sqrt(alpha[step])
            means = [weights[0] * image + weights[1] * x_t for image in (x0.double(), estimate)]
            log_variance = fraction * math.log(betas[step]) + (1 - fraction) * math.log(posterior[step])
            true, model_s = (
                torch.distributions.Normal(mean, deviation)
                for mean, deviation in zip(means, (math.sqrt(posterior[step]), (log_variance / 2).exp()), strict=True)
            )
            if step:
                bound = torch.distributions.kl_divergence(true, model_s)
            else:  # the likelihood of bins of 1/255, unbounded at the ends
                above, below = (model_s.cdf(x0.double() + side / 255) for side in (1, -1))
                inner = torch.where(x0 > 0.999, 1 - below, above - below)
                bound = -torch.where(x0 < -0.999, above, inner).clamp(min=1e-12).log()
            bounds.append(float(bound.mean()) / math.log(2))
        images.append(np.mean(errors))
    assert np.allclose(measured.images, images, rtol=2e-5)
    assert measured.mean == pytest.approx(np.mean(images), rel=1e-5)
    assert measured.quarters == pytest.approx([np.mean(errors) for errors in by_quarter], rel=1e-5)
    assert measured.variational == pytest.approx(np.mean(bounds), rel=2e-3)  # tanh's normal at t = 0


def test_every_model_is_shown_the_same(parts):
    one, other = Spy(0.7), Spy(0.2)
    for part in parts.values():
        heldout_losses(one, part, 32)
        heldout_losses(other, part, 32)
    assert len(one.shown) == len(other.shown) == 3
    for first, second in zip(one.shown, other.shown, strict=True):
        assert all(torch.equal(*tensors) for tensors in zip(first, second, strict=True))


def test_training_images_are_shown_with_the_timesteps_and_the_labels_of_the_reporting_part(parts):
    spy = Spy()
    heldout_losses(spy, parts["report"], 32)
    heldout_losses(spy, parts["train"], 32)
    (_, *report), (_, *train) = spy.shown
    assert all(torch.equal(*tensors) for tensors in zip(report, train, strict=True))


def test_the_batch_size_changes_no_bit_but_of_the_models_matrix_products(parts):
    wholes = [heldout_losses(model, parts["tune"], 32) for model in (Spy(), awaken(tiny("E")).eval())]
    for batch_size in (1, 64, 100):
        exact, close = (
            heldout_losses(model, parts["tune"], 32, batch_size) for model in (Spy(), awaken(tiny("E")).eval())
        )
        assert np.array_equal(exact.images, wholes[0].images)
        assert exact.quarters == wholes[0].quarters
        assert exact.variational == wholes[0].variational
        assert np.allclose(close.images, wholes[1].images, rtol=1e-6)
        assert close.mean == pytest.approx(wholes[1].mean, rel=1e-6)


def test_measuring_changes_no_weight_and_no_random_state(parts):
    model = awaken(tiny("E")).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    heldout_losses(model, parts["tune"], 32)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
