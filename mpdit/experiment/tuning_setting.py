"""What is tuned: a model, configuration and modulation with its recipe, and the runs that its search takes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .run_spec import RunSpec
from .schema import Tuning
from .tuning import rate, rungs


@dataclass(frozen=True)
class TuningSetting:
    """One search for a learning rate and an EMA width."""

    template: RunSpec  # a run of the study, at the horizon of the tuning; its rate and seed are replaced
    tuning: Tuning
    start: float  # the rate in the middle of the first five

    @classmethod
    def of(cls, run: RunSpec, tuning: Tuning, start: float) -> "TuningSetting":
        """The search for the rate of a run of the study."""
        steps = tuning.steps or run.training.steps
        snapshots = min(run.training.snapshots, steps)
        training = run.training.model_copy(update={"steps": steps, "snapshots": snapshots})
        return cls(replace(run, training=training), tuning, start)

    @property
    def name(self) -> str:
        """Name of the folder of its rounds."""
        run = self.template
        return f"{run.model.replace('/', '-')}-{run.config}-{run.modulation}-{run.tuning_identity}"

    def runs_of(self, rung: int) -> list[RunSpec]:
        """The runs of one rate, one per tuning seed."""
        lr = rate(self.start, rung)
        return [replace(self.template, lr=lr, seed=seed) for seed in self.tuning.seeds]

    def runs(self, chosen: Iterable[int] | None = None) -> list[RunSpec]:
        """The runs of some rungs, or of all that a search may reach."""
        return [run for rung in (rungs(self.tuning.rates) if chosen is None else chosen) for run in self.runs_of(rung)]
