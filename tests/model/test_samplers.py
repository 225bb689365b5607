"""Samplers compared with the exact result for normal data, with textbook formulas and with diffusers."""

import math

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from mpdit.model.diffusion import Diffusion
from mpdit.model.samplers import SAMPLERS, balanced_labels, even_timesteps, log_snr_timesteps, sample
from mpdit.system import seeds
from mpdit.system.errors import UserError

DIFFUSION = Diffusion()
ALPHAS_CUMPROD = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0)
MEAN, STD = 0.7, 0.5


def normal_model(mean=MEAN, std=STD, timesteps=None):
    """A model with the exact noise prediction for normal x_0, and the exact variance of each step.

    The variance of p(x_{t-1} | x_t) is the posterior's plus a term from that of x_0 given x_t. `timesteps` are those
    that sampling visits.
    """
    previous_timestep = torch.zeros(1000, dtype=torch.int64)
    if timesteps is not None:
        previous_timestep[timesteps[1:]] = torch.tensor(timesteps[:-1])

    def model(x, t, y):
        a = ALPHAS_CUMPROD[t].view(-1, 1, 1, 1)
        noise = (1 - a).sqrt() * (x - a.sqrt() * mean) / (a * std**2 + 1 - a)
        previous = ALPHAS_CUMPROD[previous_timestep[t]].view(-1, 1, 1, 1)
        beta = 1 - a / previous
        low = beta * (1 - previous) / (1 - a)
        variance_of_x0 = std**2 * (1 - a) / (a * std**2 + 1 - a)
        variance = low + (previous.sqrt() * beta / (1 - a)) ** 2 * variance_of_x0
        fraction = (variance / low).log() / (beta / low).log()
        return torch.cat([noise, (2 * fraction - 1).expand_as(noise)], dim=1).float()

    return model


def untrained_model(x, t, y):
    """An elementwise function of all its inputs, whose rounding does not depend on the batch."""
    noise = torch.sin(x + 0.1 * y.view(-1, 1, 1, 1)) + t.view(-1, 1, 1, 1) / 1000
    return torch.cat([noise, torch.cos(3 * x)], dim=1)


def draw(model=untrained_model, count=6, shape=(2, 3, 3), num_classes=3, steps=5, **protocol):
    return sample(model, balanced_labels(count, num_classes), shape, num_classes=num_classes, steps=steps, **protocol)


# --- Normal data ---


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_have_the_mean_and_deviation_of_normal_data(sampler, steps=250):
    """Over 16384 values: the mean within 4 standard errors (0.016), the standard deviation within 4 (2.2 %).

    The ancestral sampler with the exact variance is exact for any number of steps, except for the noise it omits at the
    end. DDIM has a discretization error of 1.4 %.
    """
    model = normal_model(timesteps=SAMPLERS[sampler].timesteps(DIFFUSION, steps))
    x = draw(model, count=16, shape=(1, 32, 32), steps=steps, sampler=sampler)
    assert x.mean().item() == pytest.approx(MEAN, abs=4 * STD / 128)
    assert x.std().item() == pytest.approx(STD, rel=4 / math.sqrt(2) / 128 + (0.015 if sampler == "ddim" else 0))


@pytest.mark.parametrize("std", [1.0, 0.5, 0.1])
def test_ten_steps_of_dpm_solver_suffice_for_normal_data(std):
    """With evenly spaced timesteps the error would be 33 % to 39 %."""
    x = draw(normal_model(std=std), count=16, shape=(1, 32, 32), steps=10, sampler="dpm_solver")
    assert x.std().item() == pytest.approx(std, rel=0.05)


def test_1000_steps_equal_the_textbook_algorithm():
    """Ancestral sampling written out in float64 from the betas (DDPM, algorithm 2; Improved DDPM, eq. 15).

    Within 5e-5 for values of order 1; with diffusers' own float32 products of alphas the error would be 2e-4.
    """

    def model(x, t, y):  # its x_0 is in [-1, 1]
        signal = ALPHAS_CUMPROD[t].view(-1, 1, 1, 1).sqrt().to(x)
        noise = (x - signal * torch.sin(3 * x + y.view(-1, 1, 1, 1))) / (1 - signal**2).sqrt()
        return torch.cat([noise, torch.cos(3 * x)], dim=1)

    x = draw(model, count=2, steps=1000, sampler="ddpm", seed=3)
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    for i, label in enumerate(balanced_labels(2, 3)):
        generator = seeds.generator(3, "sampling", i)
        state = torch.randn((1, 2, 3, 3), generator=generator).double()
        for t in reversed(range(1000)):
            noise, v = model(state, torch.tensor([t]), label[None]).chunk(2, dim=1)
            alpha, product = 1 - betas[t], ALPHAS_CUMPROD[t]
            state = (state - betas[t] / (1 - product).sqrt() * noise) / alpha.sqrt()
            if t > 0:
                small = betas[t] * (1 - ALPHAS_CUMPROD[t - 1]) / (1 - product)
                sigma = (betas[t].log() * (v + 1) / 2 + small.log() * (1 - v) / 2).exp().sqrt()
                state = state + sigma * torch.randn((1, 2, 3, 3), generator=generator)
        assert torch.allclose(x[i], state[0].float(), rtol=0, atol=5e-5)


# --- Timesteps ---


@pytest.mark.parametrize("steps", [2, 7, 21, 50, 250, 999, 1000])
def test_even_timesteps_are_those_of_improved_ddpm(steps):
    """Compared with the loop of `space_timesteps` in its code, in which accumulated error decides rounding ties."""
    stride, position, expected = 999 / (steps - 1), 0.0, []
    for _ in range(steps):
        expected.append(round(position))
        position += stride
    assert even_timesteps(DIFFUSION, steps) == expected


@pytest.mark.parametrize("rule", [even_timesteps, log_snr_timesteps])
def test_timesteps_span_the_process(rule):
    for steps in (*range(1, 1000, 13), 999, 1000):
        visited = rule(DIFFUSION, steps)
        assert len(visited) == steps and visited[-1] == 999
        assert visited == sorted(set(visited))
        assert steps == 1 or visited[0] == 0


def test_log_snr_steps_are_even_where_timesteps_are_dense():
    log_snr = torch.logit(ALPHAS_CUMPROD[log_snr_timesteps(DIFFUSION, 20)])
    steps = -log_snr.diff()
    assert (steps[4:] / steps[4:].mean() - 1).abs().max() < 0.1


def test_the_model_gets_the_timestep_of_the_whole_process():
    for name, sampler in SAMPLERS.items():
        seen = []

        def model(x, t, y, seen=seen):
            seen.append(t.tolist())
            return torch.cat([x, x], dim=1)

        draw(model, count=2, steps=7, sampler=name)
        assert seen == [[t, t] for t in reversed(sampler.timesteps(DIFFUSION, 7))]


def test_respaced_ddpm_equals_diffusers_with_the_same_timesteps():
    timesteps = even_timesteps(DIFFUSION, 30)[::-1]
    scheduler = DDPMScheduler(1000, variance_type="learned_range", clip_sample=False)
    scheduler.set_timesteps(timesteps=timesteps)
    generator = seeds.generator(0, "sampling", 0)
    x = torch.randn((1, 2, 3, 3), generator=generator)
    for t in timesteps:
        output = untrained_model(x, torch.tensor([t]), torch.tensor([0]))
        x = scheduler.step(output, t, x, generator=generator).prev_sample
    assert torch.allclose(draw(count=1, steps=30), x, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_dpm_solver_equals_diffusers_on_the_process_of_the_visited_timesteps(steps):
    """diffusers chooses timesteps by rules of its own, so it gets a process that has no others."""
    timesteps = log_snr_timesteps(DIFFUSION, steps)
    alphas = ALPHAS_CUMPROD[timesteps]
    betas = 1 - alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])
    scheduler = DPMSolverMultistepScheduler(
        steps, trained_betas=betas.tolist(), algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
    scheduler.alphas_cumprod = alphas  # in float64
    scheduler.set_timesteps(steps)
    x = torch.randn((1, 2, 3, 3), generator=seeds.generator(0, "sampling", 0))
    for k in reversed(range(steps)):
        noise = untrained_model(x, torch.tensor([timesteps[k]]), torch.tensor([0]))[:, :2]
        x = scheduler.step(noise, k, x).prev_sample
    assert torch.allclose(draw(count=1, steps=steps, sampler="dpm_solver"), x, rtol=1e-3, atol=1e-4)


def test_ddim_equals_its_formula():
    """DDIM, eq. 12 with sigma 0, over the visited timesteps, in float64."""
    timesteps = even_timesteps(DIFFUSION, 30)
    x = torch.randn((1, 2, 3, 3), generator=seeds.generator(0, "sampling", 0)).double()
    for k in reversed(range(30)):
        noise = untrained_model(x, torch.tensor([timesteps[k]]), torch.tensor([0]))[:, :2]
        a = ALPHAS_CUMPROD[timesteps[k]]
        previous = ALPHAS_CUMPROD[timesteps[k - 1]] if k else torch.tensor(1.0, dtype=torch.float64)
        x = previous.sqrt() * (x - (1 - a).sqrt() * noise) / a.sqrt() + (1 - previous).sqrt() * noise
    assert torch.allclose(draw(count=1, steps=30, sampler="ddim"), x.float(), rtol=1e-4, atol=1e-5)


# --- Noise, batches, labels ---


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_do_not_depend_on_the_batch_size(sampler, guidance):
    """They are bit-identical, because the operations of this model do not depend on the batch."""
    whole = draw(count=7, sampler=sampler, guidance=guidance, batch_size=7)
    for batch_size in (1, 2, 5, 100):
        assert torch.equal(whole, draw(count=7, sampler=sampler, guidance=guidance, batch_size=batch_size))


def test_the_first_images_do_not_depend_on_the_count():
    assert torch.equal(draw(count=9)[:4], draw(count=4))


def test_the_initial_noise_depends_only_on_seed_and_image():
    starts = []

    def model(x, t, y):
        if t[0] == 999:
            starts.append(x.clone())
        return torch.cat([x, x], dim=1)

    for sampler, steps in (("ddpm", 3), ("ddim", 9), ("dpm_solver", 4)):
        draw(model, sampler=sampler, steps=steps)
    assert torch.equal(starts[0], starts[1]) and torch.equal(starts[0], starts[2])
    draw(model, steps=1, seed=1)
    assert not torch.isclose(starts[0], starts[3]).any()
    assert len(starts[0].flatten().unique()) == starts[0].numel()


def test_every_step_draws_new_noise():
    """With a model that predicts no noise, at the upper bound of the variance, noises of all steps are uncorrelated."""
    noises, inputs = [], []

    def model(x, t, y):
        inputs.append(x.clone())
        return torch.cat([torch.zeros_like(x), torch.ones_like(x)], dim=1)

    last = draw(model, count=1, shape=(1, 32, 32), steps=4)
    for earlier, later in zip(inputs, [*inputs[1:], last], strict=True):
        slope = (earlier * later).sum() / earlier.square().sum()
        noises.append((later - slope * earlier).flatten())
    correlation = torch.corrcoef(torch.stack(noises[:-1])).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / 32


def test_labels_are_balanced():
    assert balanced_labels(7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    seen = []

    def model(x, t, y):
        seen.append(y.tolist())
        return torch.cat([x, x], dim=1)

    draw(model, count=5, steps=1, batch_size=2)
    assert seen == [[0, 1], [2, 0], [1]]


# --- Guidance ---


def constant_model(calls):
    """A model with noise 1 + label in every channel and variance -0.5; without a label, noise -1 and variance 7."""

    def model(x, t, y):
        calls.append(y.tolist())
        absent = (y == 3).view(-1, 1, 1, 1)
        noise = torch.where(absent, torch.tensor(-1.0), 1 + y.view(-1, 1, 1, 1)).expand_as(x)
        return torch.cat([noise, torch.where(absent, 7.0, -0.5).expand_as(x)], dim=1)

    return model


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_guidance_changes_the_noise_of_every_channel_but_not_the_variance(sampler):
    """w = 2 on noises c = 1 + y and u = -1 equals a model with noise u + 2 (c - u) = 3 + 2 y, in all 5 channels."""

    def guided(x, t, y):
        noise = (3.0 + 2 * y.view(-1, 1, 1, 1)).expand_as(x)
        return torch.cat([noise, torch.full_like(x, -0.5)], dim=1)

    calls = []
    actual = draw(constant_model(calls), shape=(5, 2, 2), guidance=2.0, sampler=sampler)
    assert calls[0] == [0, 1, 2, 0, 1, 2, 3, 3, 3, 3, 3, 3]
    assert torch.allclose(actual, draw(guided, shape=(5, 2, 2), sampler=sampler), rtol=1e-5, atol=1e-5)


def test_guidance_1_evaluates_only_the_conditional_model():
    calls = []
    draw(constant_model(calls), steps=2, guidance=1.0)
    assert calls == [[0, 1, 2, 0, 1, 2]] * 2


def test_guidance_0_is_unconditional():
    def unconditional(x, t, y):
        return torch.cat([-torch.ones_like(x), torch.full_like(x, -0.5)], dim=1)

    assert torch.allclose(draw(constant_model([]), guidance=0.0), draw(unconditional), rtol=1e-5, atol=1e-5)


def test_bfloat16_applies_only_inside_the_model():
    weight = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) / 2
    dtypes = set()

    def model(x, t, y):
        output = x.movedim(1, -1) @ weight
        dtypes.add((x.dtype, output.dtype))
        return output.movedim(-1, 1)

    low, full = (draw(model, sampler="ddim", precision=precision) for precision in ("bfloat16", "float32"))
    assert dtypes == {(torch.float32, torch.bfloat16), (torch.float32, torch.float32)}
    assert low.dtype == torch.float32
    assert torch.allclose(low, full, atol=0.1 * full.abs().max())


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"sampler": "euler"}, "sampler: 'euler': must be one of ddpm, ddim, dpm_solver"),
        ({"steps": 0}, "steps: 0: must be 1 to 1000"),
        ({"steps": 1001}, "steps: 1001: must be 1 to 1000"),
        ({"guidance": -1.0}, "guidance: -1.0: must be 0 or more (1 is no guidance)"),
        ({"guidance": math.inf}, "guidance: inf: must be 0 or more (1 is no guidance)"),
        ({"count": 0}, "count: 0: must be 1 or more"),
    ],
)
def test_invalid_protocols(protocol, message):
    with pytest.raises(UserError) as error:
        draw(**protocol)
    assert str(error.value) == message
