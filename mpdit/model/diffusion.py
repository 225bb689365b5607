"""The noise process and the hybrid loss of Improved DDPM (Nichol & Dhariwal, arXiv 2102.09672), which DiT trains with.

Equation numbers are those of Improved DDPM. Timesteps are the indices 0 .. T-1, from nearly clean to nearly pure noise.
"""

import math

import torch
from torch import Tensor, nn


class Diffusion(nn.Module):
    """A Gaussian diffusion process of `timesteps` steps with linear betas, and the loss of a model that reverses it.

    The model predicts the noise and the variance. Tables are computed in float64 and stored in float32, on the device
    of `.to(device)`; `alphas_cumprod` (T,) stays in float64 on the CPU, for the samplers. Nothing here synchronizes
    with the device.
    """

    # Buffers (2, T, 1, 1, 1): two tables each
    noising: Tensor
    denoising: Tensor
    posterior_mean: Tensor
    log_variances: Tensor

    def __init__(self, timesteps: int = 1000) -> None:
        super().__init__()
        self.timesteps = timesteps
        scale = 1000 / timesteps  # so that the process ends in nearly pure noise, whatever its number of steps
        betas = torch.linspace(scale * 1e-4, scale * 2e-2, timesteps, dtype=torch.float64)
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
        variance = betas * (1 - previous) / (1 - alphas_cumprod)  # of the posterior: beta tilde, eq. 10
        variance[0] = variance[1]  # the first is 0 and has no logarithm
        self.alphas_cumprod = alphas_cumprod
        self._register_table("noising", alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt())  # eq. 9
        self._register_table(
            "denoising", alphas_cumprod.rsqrt(), (1 / alphas_cumprod - 1).sqrt()
        )  # eq. 9 solved for x_0
        self._register_table(
            "posterior_mean",  # eq. 11
            previous.sqrt() * betas / (1 - alphas_cumprod),
            (1 - betas).sqrt() * (1 - previous) / (1 - alphas_cumprod),
        )
        self._register_table("log_variances", variance.log(), betas.log())  # the bounds of eq. 15

    def _register_table(self, name: str, first: Tensor, second: Tensor) -> None:
        self.register_buffer(name, torch.stack([first, second]).float()[..., None, None, None], persistent=False)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t given x_0 and the noise (eq. 9). Images and noise (N, C, H, W), t (N,) int64 -> (N, C, H, W)."""
        signal, sigma = self.noising[:, t]  # (N, 1, 1, 1) each
        return signal * x0 + sigma * noise

    def predict_x0(self, x_t: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The x_0 that `noise` turns into x_t (eq. 9 solved for x_0). All (N, C, H, W), t (N,) int64."""
        scale, sigma = self.denoising[:, t]
        return scale * x_t - sigma * noise

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (N, C, H, W) and log variance (N, 1, 1, 1) of q(x_{t-1} | x_t, x_0), eqs. 10 and 11.

        At t = 0, where the true variance is 0, the log variance is that at t = 1.
        """
        x0_weight, x_t_weight = self.posterior_mean[:, t]
        return x0_weight * x0 + x_t_weight * x_t, self.log_variances[0, t]

    def log_variance(self, output: Tensor, t: Tensor) -> Tensor:
        """The model's log variance (eq. 15), from the posterior's at an output of -1 to that of beta_t at 1.

        Output (N, C, H, W), t (N,) int64 -> (N, C, H, W).
        """
        low, high = self.log_variances[:, t]
        fraction = (output + 1) / 2
        return fraction * high + (1 - fraction) * low

    def losses(self, output: Tensor, x0: Tensor, x_t: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of the hybrid loss (eq. 16) for each image, to be added; in float32 even under autocast.

        Args:
            output: the model's (N, 2C, H, W): the predicted noise, then where the log variance lies between its bounds.
            x0, x_t, noise: (N, C, H, W), with x_t = add_noise(x0, noise, t).
            t: timesteps (N,) int64.

        Returns:
            simple (N,): squared error of the noise, averaged over dimensions (eq. 14).
            variational (N,): T/1000 * L_t in bits, averaged over dimensions (eqs. 4 to 7). It trains the variance only:
                the predicted noise is detached. At t = 0 it is the likelihood of bins of half width 1/255 in [-1, 1],
                which is meaningless for whitened latents and is kept for parity with DiT.
        """
        predicted_noise, variance = output.float().chunk(2, dim=1)
        x0, x_t, noise = x0.float(), x_t.float(), noise.float()
        simple = (predicted_noise - noise).square().flatten(1).mean(1)

        true_mean, true_log_variance = self.posterior(x0, x_t, t)
        mean, _ = self.posterior(self.predict_x0(x_t, predicted_noise.detach(), t), x_t, t)
        log_variance = self.log_variance(variance, t)
        divergence = gaussian_kl(true_mean, true_log_variance, mean, log_variance)  # L_{t-1}, eq. 6
        likelihood = discretized_gaussian_log_likelihood(x0, mean, log_variance / 2)  # -L_0, eq. 5
        bound = torch.where((t == 0).view(-1, 1, 1, 1), -likelihood, divergence).flatten(1).mean(1)
        return simple, bound * (self.timesteps / 1000 / math.log(2))


def gaussian_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """Elementwise KL divergence, in nats, KL(N(mean1, variance1) || N(mean2, variance2))."""
    ratio = (log_variance1 - log_variance2).exp()
    distance = (mean1 - mean2).square() * (-log_variance2).exp()
    return 0.5 * (log_variance2 - log_variance1 + ratio + distance - 1)


def discretized_gaussian_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log likelihood, in nats, of the bin of half width 1/255 around x; the outermost bins of [-1, 1] are unbounded.

    As in the code of Improved DDPM and DiT, with their tanh approximation of the normal distribution function.
    """
    centered, inverse_scale = x - mean, (-log_scale).exp()
    above = _normal_cdf(inverse_scale * (centered + 1 / 255))
    below = _normal_cdf(inverse_scale * (centered - 1 / 255))
    probability = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return probability.clamp(min=1e-12).log()


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
