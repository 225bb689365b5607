"""The noise process and the hybrid loss, compared with closed-form Gaussians."""

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

from mpdit.model.diffusion import Diffusion, discretized_gaussian_log_likelihood

DIFFUSION = Diffusion()
ALPHAS = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).tolist()


def batch(t, channels=3, seed=0):
    """x0, noise, t and a model's output for these timesteps; the predicted noise is off by about 0.1."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(t), channels, 4, 4)
    x0, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    error, variance = (torch.randn(shape, generator=generator) for _ in range(2))
    return x0, noise, torch.tensor(t), torch.cat([noise + 0.1 * error, variance.tanh()], dim=1)


def losses(x0, noise, t, output):
    return DIFFUSION.losses(output, x0, noise, t)


def test_add_noise_equals_a_chain_of_single_steps():
    """Mean and variance after the steps x_t = sqrt(a) x_{t-1} + sqrt(1 - a) e, one at a time in float64."""
    mean, variance, at = 1.0, 0.0, {}
    for step, alpha in enumerate(ALPHAS):
        mean, variance = math.sqrt(alpha) * mean, alpha * variance + 1 - alpha
        at[step] = mean, math.sqrt(variance)
    t = torch.tensor([0, 1, 500, 999])
    zero, one = torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2)
    signal, sigma = (torch.tensor([at[int(step)][i] for step in t]) for i in range(2))
    assert torch.allclose(DIFFUSION.add_noise(one, zero, t)[:, 0, 0, 0], signal.float(), rtol=1e-6)
    assert torch.allclose(DIFFUSION.add_noise(zero, one, t)[:, 0, 0, 0], sigma.float(), rtol=1e-6)


@pytest.mark.parametrize("t", [1, 2, 30, 500, 998, 999])
def test_variational_term_is_the_closed_form_divergence(t):
    """Compared with torch.distributions in float64, with alphas and means computed here from their definitions."""
    x0, noise, steps, output = batch([t] * 5)
    x0, noise, output = x0.double(), noise.double(), output.double()
    before, after, alpha = math.prod(ALPHAS[:t]), math.prod(ALPHAS[: t + 1]), ALPHAS[t]
    x_t = math.sqrt(after) * x0 + math.sqrt(1 - after) * noise

    def posterior_mean(x0):
        return (math.sqrt(before) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - before) * x_t) / (1 - after)

    small, large = (1 - alpha) * (1 - before) / (1 - after), 1 - alpha
    predicted_x0 = (x_t - math.sqrt(1 - after) * output[:, :3]) / math.sqrt(after)
    fraction = (output[:, 3:] + 1) / 2
    deviation = (large**fraction * small ** (1 - fraction)).sqrt()
    expected = kl_divergence(
        Normal(posterior_mean(x0), math.sqrt(small)), Normal(posterior_mean(predicted_x0), deviation)
    )

    simple, variational = losses(x0.float(), noise.float(), steps, output.float())
    assert torch.allclose(variational.double(), expected.mean((1, 2, 3)) / math.log(2), rtol=1e-5, atol=1e-9)
    assert torch.allclose(simple.double(), (output[:, :3] - noise).square().mean((1, 2, 3)), rtol=1e-5)


def test_the_term_at_t_0_is_the_likelihood_of_a_bin():
    """Minus log2 of the model's probability of the bin of half width 1/255 (scipy's normal distribution)."""
    x0, noise, t, output = batch([0] * 6)
    x0 = x0.clamp(-1, 1)  # the outermost bins too
    _, variational = losses(x0, noise, t, output)
    beta0, beta1 = 1 - ALPHAS[0], 1 - ALPHAS[1]
    small = beta1 * beta0 / (1 - ALPHAS[0] * ALPHAS[1])  # the posterior's variance at t = 1, also used at t = 0
    fraction = (output[:, 3:].double() + 1) / 2
    scale = (beta0**fraction * small ** (1 - fraction)).sqrt().numpy()
    mean = (x0.double() + math.sqrt(beta0 / ALPHAS[0]) * (noise - output[:, :3]).double()).numpy()
    x = x0.double().numpy()
    upper = stats.norm.cdf((x + 1 / 255 - mean) / scale)
    lower = stats.norm.cdf((x - 1 / 255 - mean) / scale)
    upper[x > 0.999], lower[x < -0.999] = 1, 0
    expected = -torch.from_numpy(upper - lower).log2().mean((1, 2, 3))
    # 3e-3: the tanh approximation of the normal distribution function, kept as in DiT
    assert torch.allclose(variational.double(), expected, rtol=3e-3)


def test_the_probabilities_of_all_bins_sum_to_one():
    x = torch.linspace(-1, 1, 256)
    for mean, scale in ((0.0, 0.3), (0.9, 0.5), (-2.0, 1.0)):
        log_likelihood = discretized_gaussian_log_likelihood(x, torch.tensor(mean), torch.tensor(scale).log())
        assert log_likelihood.exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_the_variational_term_trains_only_the_variance():
    x0, noise, t, output = batch([0, 3, 400, 999])
    output.requires_grad_()
    losses(x0, noise, t, output)[1].sum().backward()
    assert output.grad[:, :3].abs().max() == 0
    assert (output.grad[:, 3:].flatten(1).abs().max(1).values > 0).all()


def test_the_simple_term_trains_only_the_noise():
    x0, noise, t, output = batch([0, 3, 400, 999])
    output.requires_grad_()
    losses(x0, noise, t, output)[0].sum().backward()
    assert torch.allclose(output.grad[:, :3], 2 * (output[:, :3] - noise) / noise[0].numel())
    assert output.grad[:, 3:].abs().max() == 0


def test_losses_of_a_batch_are_independent():
    """Every image has the loss and the gradient that it has alone, also where only others are at t = 0."""

    def loss_and_gradient(chosen):
        leaf = output[chosen].clone().requires_grad_()
        terms = torch.stack(losses(x0[chosen], noise[chosen], t[chosen], leaf))
        return terms, torch.autograd.grad(terms.sum(), leaf)[0]

    x0, noise, t, output = batch([0, 1, 0, 500, 999])
    terms, gradient = loss_and_gradient(slice(None))
    for i in range(len(t)):
        own_terms, own_gradient = loss_and_gradient(slice(i, i + 1))
        assert torch.equal(terms[:, i : i + 1], own_terms)
        assert torch.equal(gradient[i : i + 1], own_gradient)


def test_the_loss_is_float32_under_autocast_and_for_bfloat16_outputs():
    x0, noise, t, output = batch([0, 1, 500, 999])
    output = output.bfloat16()
    expected = torch.stack(losses(x0, noise, t, output.float()))
    with torch.autocast("cpu", torch.bfloat16):
        actual = torch.stack(losses(x0, noise, t, output))
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


def test_the_loss_never_synchronizes_with_the_device():
    """It runs on the meta device, where every .item() or data-dependent branch is an error."""
    diffusion = Diffusion().to("meta")
    x = torch.empty(4, 3, 8, 8, device="meta")
    t = torch.empty(4, dtype=torch.int64, device="meta")
    simple, variational = diffusion.losses(torch.cat([x, x], 1), x, x, t)
    assert simple.shape == variational.shape == (4,)


def test_the_loss_compiles_to_one_graph():
    """There are no graph breaks, and the traced loss equals the eager one."""
    x0, noise, t, output = batch([0, 1, 500, 999])
    compiled = torch.compile(losses, backend="aot_eager", fullgraph=True)
    assert torch.equal(torch.stack(compiled(x0, noise, t, output)), torch.stack(losses(x0, noise, t, output)))


def test_a_shorter_process_also_ends_in_noise():
    short = Diffusion(100)
    assert short.alphas_cumprod[-1] == pytest.approx(Diffusion().alphas_cumprod[-1].item(), rel=0.6)
    x0, noise, t, output = batch([50])
    assert short.losses(output, x0, noise, t)[1].item() > 0
