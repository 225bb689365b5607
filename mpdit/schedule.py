"""Learning-rate schedules, in absolute steps: raising a run's number of steps changes nothing of what was done."""

from collections.abc import Callable
from math import sqrt

# A phase is a factor on the base rate, given the step (from 1), the warm-up steps and the step where decay starts.
PHASES: dict[str, Callable[[int, int, int], float]] = {
    "linear_warmup": lambda step, warmup_steps, decay_start: min(1.0, step / max(1, warmup_steps)),
    "inverse_sqrt_decay": lambda step, warmup_steps, decay_start: sqrt(decay_start / max(step, decay_start)),
}
# A schedule is the product of its phases (EDM2, arXiv 2312.02696, eq. 67, is "inverse_sqrt").
SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": ("linear_warmup",),
    "inverse_sqrt": ("linear_warmup", "inverse_sqrt_decay"),
}


def rate_factor(schedule: str, step: int, warmup_steps: int, decay_start: int) -> float:
    """What the base learning rate is multiplied by in the update number `step`, the first being 1."""
    factor = 1.0
    for phase in SCHEDULES[schedule]:
        factor *= PHASES[phase](step, warmup_steps, decay_start)
    return factor
