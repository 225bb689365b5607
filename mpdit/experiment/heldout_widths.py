"""In which EMA widths a run's held-out loss is measured at its last step."""

from .grid import Experiment
from .run_spec import RunSpec


def heldout_widths(experiment: Experiment, run: RunSpec) -> tuple[float | None, ...]:
    """Every EMA width that a run of the study tracks or is sampled in, and None, the plain weights."""
    protocols = [protocol for block in experiment.blocks.values() for protocol in block.protocols_of.get(run.name, ())]
    sampled = [protocol.ema_width for protocol in protocols]
    return tuple(dict.fromkeys([*run.training.ema_widths, *sampled, None]))
