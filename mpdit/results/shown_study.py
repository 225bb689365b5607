"""What the study defines whose results are shown.

Aggregated tables only name configurations and models; their order, words and looks are those of the study's ladder.
What shows results sets the study for as long as it takes; otherwise it is one that defines nothing of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ..experiment.ladder import SHIPPED, Ladder
from ..experiment.parse import ladder_of


@dataclass(frozen=True)
class ShownStudy:
    """The definitions that results are shown with."""

    ladder: Ladder = SHIPPED

    @classmethod
    def of_plan(cls, plan: Mapping[str, object]) -> "ShownStudy":
        """The study of a plan.json. Raises UserError for definitions that are not right."""
        return cls(ladder_of(plan))


_shown: ContextVar[ShownStudy] = ContextVar("shown study", default=ShownStudy())  # noqa: B039  # frozen


def shown_study() -> ShownStudy:
    """The study that is being shown."""
    return _shown.get()


@contextmanager
def showing(study: ShownStudy) -> Iterator[None]:
    """Within this context `shown_study` is the study, in this thread and task alone."""
    token = _shown.set(study)
    try:
        yield
    finally:
        _shown.reset(token)
