"""Learning-rate schedules, in absolute steps: raising a run's number of steps changes nothing of what was done; and
when snapshots are taken. Torch-free: Snakemake imports this module each time it parses the workflow."""

from collections.abc import Callable
from math import sqrt

from ..system.errors import UserError

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


def snapshot_steps(steps: int, count: int) -> list[int]:
    """`count` evenly spaced steps, the last of which is `steps` (fewer where there are fewer steps).

    One file per width is written at each. With widths 0.05 and 0.10, n evenly spaced times up to the asked step
    rebuild widths 0.03 to 0.20 with a residual of at most 3.9 % (n = 16), 1.1 % (32), 0.3 % (64), 0.07 % (128): 64
    times carry them well at the end of a run and still to 1.1 % half-way. The disk holds `count` models per width
    (DiT-S/2, two widths, 64 times, float16: 8.4 GB); where a run is continued to more steps, the old snapshots stay
    and at most `count` times join them.
    """
    if steps < 1 or count < 1:
        raise UserError(f"snapshots: {count} in {steps} steps: must both be at least 1")
    return sorted({max(1, round(steps * i / count)) for i in range(1, count + 1)})
