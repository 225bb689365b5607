"""One entry of `experiments:`: its runs, and the protocols under which each is sampled."""

from collections.abc import Mapping
from dataclasses import dataclass

from .run_spec import Protocol, RunSpec


@dataclass(frozen=True)
class Block:
    """One entry of `experiments:`: its runs, and the protocols under which each is sampled."""

    name: str
    runs: tuple[RunSpec, ...]
    protocols_of: Mapping[str, tuple[Protocol, ...]]  # by name of the run

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols of all its runs; more than one per run where widths are tuned or sampling seeds are paired."""
        return tuple(dict.fromkeys(protocol for run in self.runs for protocol in self.protocols_of[run.name]))
