"""Sums of the losses since the last log and the health of a run, kept on the device: no step waits for the host."""

import torch
from torch import Tensor

QUARTERS = 4  # of the time steps
# Exploded: the loss of the global batch is above LOSS_LIMIT in STEPS_LIMIT steps in a row. Predicting no noise at all
# costs about 1, and every letter starts there.
LOSS_LIMIT = 10.0
STEPS_LIMIT = 100


def batch_sums(simple: Tensor, variational: Tensor, t: Tensor, timesteps: int) -> Tensor:
    """Sums over images, (2 + 2 QUARTERS,): both parts of the loss, then by quarter of the time steps loss and count.

    `simple`, `variational` and `t` are (N,), one value an image.
    """
    in_quarter = (t * QUARTERS // timesteps).unsqueeze(1) == torch.arange(QUARTERS, device=t.device)  # (N, QUARTERS)
    loss = (simple + variational).unsqueeze(1)
    # Chosen, not multiplied: a loss that is not finite stays in its quarter.
    by_quarter = torch.where(in_quarter, loss, 0.0)
    return torch.cat([simple.sum()[None], variational.sum()[None], by_quarter.sum(0), in_quarter.float().sum(0)])


class Tally:
    """What has been summed since the last log, and whether the run still lives.

    `bad_step` is 0, or the step at which the run diverged: its loss or gradient norm was not finite, or it exploded.
    Steps after it are not counted, so that the sums don't depend on when somebody looked.
    """

    def __init__(self, batch_size: int, device: torch.device | str = "cpu"):
        self.batch_size = batch_size
        self.sums = torch.zeros(2 + 2 * QUARTERS + 2, dtype=torch.float64, device=device)  # ..., gradient norm, steps
        self.high_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.bad_step = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, step: int, sums: Tensor, gradient_norm: Tensor) -> None:
        """Count one step: the `batch_sums` of the global batch and the norm of its gradient."""
        alive = self.bad_step == 0
        loss = (sums[0] + sums[1]) / self.batch_size
        self.high_steps.copy_(torch.where(loss > LOSS_LIMIT, self.high_steps + 1, 0))
        diverged = ~(loss.isfinite() & gradient_norm.isfinite()) | (self.high_steps >= STEPS_LIMIT)
        self.sums.add_(torch.where(alive, torch.cat([sums, gradient_norm[None], torch.ones_like(sums[:1])]), 0.0))
        self.bad_step.copy_(torch.where(alive & diverged, step, self.bad_step))

    def state_dict(self) -> dict[str, Tensor]:
        return {"sums": self.sums, "high_steps": self.high_steps, "bad_step": self.bad_step}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def means(self) -> dict[str, float]:
        """Columns of training.csv: means per image over the steps counted (nan where there were none). Waits."""
        simple, variational, *rest, norm, steps = self.sums.tolist()
        images = steps * self.batch_size
        columns = {
            "loss": _ratio(simple + variational, images),
            "simple": _ratio(simple, images),
            "variational": _ratio(variational, images),
        }
        for i in range(QUARTERS):
            columns[f"loss_q{i + 1}"] = _ratio(rest[i], rest[QUARTERS + i])
        return {**columns, "grad_norm": _ratio(norm, steps)}

    def reset(self) -> None:
        self.sums.zero_()


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
