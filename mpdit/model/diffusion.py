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

    noising: Tensor  # (2, T, 1, 1, 1): the factors of x_0 and of the noise
    variances: Tensor  # (3, T, 1, 1, 1): see `losses`

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
        self._noise_at_0 = math.sqrt(1 / alphas_cumprod[0].item() - 1)  # relative to the signal
        self._register_table("noising", alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt())  # eq. 9
        # The bounds of eq. 15 are the posterior's log variance and log beta. The means of eq. 11 for the true and the
        # predicted noise differ by beta / sqrt(alpha (1 - alphas_cumprod)) times the difference of the noises.
        weight = betas**2 / ((1 - betas) * (1 - alphas_cumprod)) / variance
        self._register_table("variances", variance.log(), (betas / variance).log(), weight)

    def _register_table(self, name: str, *rows: Tensor) -> None:
        self.register_buffer(name, torch.stack(rows).float()[..., None, None, None], persistent=False)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t given x_0 and the noise (eq. 9). Images and noise (N, C, H, W), t (N,) int64 -> (N, C, H, W)."""
        signal, sigma = self.noising[:, t]  # (N, 1, 1, 1) each
        return signal * x0 + sigma * noise

    def losses(self, output: Tensor, x0: Tensor, noise: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of the hybrid loss (eq. 16) for each image, to be added; in float32 even under autocast.

        Args:
            output: the model's (N, 2C, H, W) for x_t = add_noise(x0, noise, t): the predicted noise, then where the log
                variance lies between its bounds (eq. 15), the posterior's at -1 and log beta at 1.
            x0, noise: (N, C, H, W).
            t: timesteps (N,) int64.

        Returns:
            simple (N,): squared error of the noise, averaged over dimensions (eq. 14).
            variational (N,): T/1000 * L_t in bits, averaged over dimensions (eqs. 4 to 7). It trains the variance only:
                the predicted noise is detached. At t = 0 it is the likelihood of bins of half width 1/255 in [-1, 1],
                which is meaningless for whitened latents and is kept for parity with DiT.
        """
        predicted_noise, variance = output.float().chunk(2, dim=1)
        error = predicted_noise - noise.float()
        squared_error = error.square()
        simple = squared_error.flatten(1).mean(1)

        # The divergence of two normal distributions (L_{t-1}, eq. 6) depends on the ratio of their variances and on the
        # squared difference of their means over the first variance.
        low, width, weight = self.variances[:, t]  # (N, 1, 1, 1) each
        log_ratio = (variance + 1) * (width / 2)
        less = torch.expm1(-log_ratio)  # near -log_ratio, so no 1 is added before it would cancel
        bound = torch.addcmul(log_ratio + less, less + 1, weight * squared_error.detach()) / 2
        if _any_is_0(t):
            mean = x0.float() - self._noise_at_0 * error.detach()
            likelihood = discretized_gaussian_log_likelihood(x0.float(), mean, (low + log_ratio) / 2)  # -L_0, eq. 5
            bound = torch.where((t == 0).view(-1, 1, 1, 1), -likelihood, bound)
        return simple, bound.flatten(1).mean(1) * (self.timesteps / 1000 / math.log(2))


def _any_is_0(t: Tensor) -> bool:
    """Whether any timestep is 0. True on devices that would have to be waited for, and while a graph is traced."""
    return t.device.type != "cpu" or torch.compiler.is_compiling() or bool((t == 0).any())


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
