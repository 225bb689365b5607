"""The registry of tables and figures: what each is, what it is made from, and the function that makes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Artefact:
    """A table (.csv, .md, .tex) or a figure (.pdf, .png)."""

    name: str
    kind: str  # table | figure
    experiments: tuple[str, ...]  # blocks of the configuration that it can be drawn from; none: from all runs
    reads: tuple[str, ...]  # aggregates by name, cost; and samples, the samples.npz of the scored runs
    caption: str
    make: Callable[[Mapping], object]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that it becomes; the first is the one to ask for."""
        return (".csv", ".md", ".tex") if self.kind == "table" else (".pdf", ".png")


ARTEFACTS: dict[str, Artefact] = {}


def _register(kind: str, name: str, *, experiments: tuple[str, ...], reads: tuple[str, ...], caption: str):
    def keep(make):
        ARTEFACTS[name] = Artefact(name, kind, experiments, reads, caption, make)
        return make

    return keep


table, figure = partial(_register, "table"), partial(_register, "figure")
