"""The learning rates of a study where its blocks name none: numbers of the configuration, or what tuning has chosen."""

from collections.abc import Mapping
from pathlib import Path

from ..system.errors import UserError
from .rates import Setting, read_rates, setting_of
from .run_spec import RunSpec
from .schema import Tuning
from .tuning import Tuned


class StudyRates:
    """Rates by setting.

    Attributes: `given`, the numbers under `learning_rates`; `chosen`, those of the file that it names instead;
    `missing`, what that file lacks, in words: itself, or the rate of a setting; None where it lacks nothing.
    """

    def __init__(self, learning_rates: Mapping[str, float] | str, tuning: Tuning, untuned: bool):
        """`untuned`: go on where rates are missing, with those from which their search starts in their place."""
        self._start, self._untuned, self._path = tuning.start, untuned, ""
        self.given: dict[str, float] = {}
        self.chosen: dict[Setting, Tuned] = {}
        self.missing: str | None = None
        if not isinstance(learning_rates, str):
            self.given = dict(learning_rates)
            return
        self._path = learning_rates
        if untuned and not Path(learning_rates).exists():
            self.missing = f"{learning_rates}: no such file"
            return
        try:
            self.chosen = read_rates(learning_rates)
        except UserError as error:
            raise UserError(f"learning_rates: {error}") from None

    def tuned(self, run: RunSpec) -> Tuned | None:
        """What tuning has chosen for the setting of a run: by a search for just its recipe, or else for another one."""
        setting = setting_of(run)
        others = (tuned for other, tuned in self.chosen.items() if other[:3] == setting[:3])
        return self.chosen.get(setting) or next(others, None)

    def rate(self, run: RunSpec) -> float | None:
        """The rate of a run's setting: the tuned one, or the configuration's number; None where there is none.

        Where it is yet to be tuned, the one that its search starts from.
        """
        if tuned := self.tuned(run):
            return tuned.lr
        if self.missing is not None:
            return self._start.get(run.config)
        return self.given.get(f"{run.model} {run.config} {run.modulation}", self.given.get(run.config))

    def require(self, run: RunSpec) -> str:
        """Where the rate of a run's setting must be given; empty where it is known.

        Raises UserError where the file of rates lacks it, unless the study may be untuned.
        """
        if self.chosen and self.tuned(run) is None:
            lacking = f"{self._path}: no rate for {run.model} {run.config} {run.modulation}"
            if not self._untuned:
                raise UserError(f"learning_rates: {lacking}; expected one for each setting whose block names no lr")
            self.missing = self.missing or lacking
        if self.rate(run) is not None:
            return ""
        return f"{'learning_rates' if self.missing is None else 'tuning.start'}.{run.config}"

    def start(self, run: RunSpec) -> float:
        """The rate from which the search for a run's starts. Raises UserError where there is none."""
        start = self._start.get(run.config, self.given.get(run.config))
        if start is None:
            raise UserError(f"tuning.start.{run.config}: missing; the search for its rate needs a start")
        return start
