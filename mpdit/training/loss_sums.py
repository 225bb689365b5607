"""Sums of the losses since the last log row, and divergence, kept on the device so that no step waits for the host."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

QUARTERS = 4  # of the timesteps
# A run has exploded when the loss of the global batch exceeds LOSS_LIMIT in STEPS_LIMIT consecutive steps. Predicting
# no noise at all costs about 1, which is where every configuration starts.
LOSS_LIMIT = 10.0
STEPS_LIMIT = 100


def batch_sums(simple: Tensor, variational: Tensor, t: Tensor, timesteps: int) -> Tensor:
    """Return sums over images, (2 + 2 QUARTERS,): both parts of the loss; the loss, then the count, per quarter of t.

    `simple`, `variational`, and `t` are (N,), one value per image; `t` is in 0 .. timesteps - 1.
    """
    in_quarter = (t * QUARTERS // timesteps).unsqueeze(1) == torch.arange(QUARTERS, device=t.device)  # (N, QUARTERS)
    loss = (simple + variational).unsqueeze(1)
    # Selected, not multiplied by a mask: a loss that is not finite must not reach the other quarters.
    by_quarter = torch.where(in_quarter, loss, 0.0)
    return torch.cat([simple.sum()[None], variational.sum()[None], by_quarter.sum(0), in_quarter.float().sum(0)])


@dataclass(frozen=True)
class LossMeans:
    """Means per image over the steps since the last log row; nan where there are none."""

    loss: float
    simple: float
    variational: float
    loss_q1: float  # by quarter of the timesteps, the least noisy first
    loss_q2: float
    loss_q3: float
    loss_q4: float
    grad_norm: float  # mean per step, in the scale of the textbook form


class LossSums:
    """Sums since the last log row, and the step at which the run diverged.

    `diverged_at` is 0, or the step at which the loss or the gradient norm was not finite, or the run had exploded.
    Later steps are not counted, so the sums do not depend on when divergence is noticed.
    """

    def __init__(self, batch_size: int, device: torch.device | str = "cpu"):
        self.batch_size = batch_size
        # batch_sums, the gradient norm, the number of steps
        self.sums = torch.zeros(2 + 2 * QUARTERS + 2, dtype=torch.float64, device=device)
        self.high_steps = torch.zeros((), dtype=torch.int64, device=device)  # consecutive steps above LOSS_LIMIT
        self.diverged_at = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, step: int, sums: Tensor, gradient_norm: Tensor) -> None:
        """Add one step: the `batch_sums` of the global batch and the norm of its gradient."""
        alive = self.diverged_at == 0
        loss = (sums[0] + sums[1]) / self.batch_size
        self.high_steps.copy_(torch.where(loss > LOSS_LIMIT, self.high_steps + 1, 0))
        diverged = ~(loss.isfinite() & gradient_norm.isfinite()) | (self.high_steps >= STEPS_LIMIT)
        self.sums.add_(torch.where(alive, torch.cat([sums, gradient_norm[None], torch.ones_like(sums[:1])]), 0.0))
        self.diverged_at.copy_(torch.where(alive & diverged, step, self.diverged_at))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors themselves, under the names that checkpoints use."""
        return {"sums": self.sums, "high_steps": self.high_steps, "bad_step": self.diverged_at}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def means(self) -> LossMeans:
        """Return the means over the steps counted. Waits for the device."""
        simple, variational, *rest, norm, steps = self.sums.tolist()
        images = steps * self.batch_size
        q1, q2, q3, q4 = (_ratio(rest[i], rest[QUARTERS + i]) for i in range(QUARTERS))
        return LossMeans(
            loss=_ratio(simple + variational, images),
            simple=_ratio(simple, images),
            variational=_ratio(variational, images),
            loss_q1=q1,
            loss_q2=q2,
            loss_q3=q3,
            loss_q4=q4,
            grad_norm=_ratio(norm, steps),
        )

    def reset(self) -> None:
        self.sums.zero_()


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
