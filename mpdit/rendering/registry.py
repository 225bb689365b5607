"""The registry of tables and figures: what each is, what it is made from, and the function that makes it."""

from collections.abc import Callable, Collection, Mapping
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


def goals(blocks: Collection[str]) -> dict[str, str | None]:
    """The artefacts that a study with these blocks has, each with the block it is drawn from; None: all runs.

    That is the first of its blocks that the study has. An artefact whose blocks are all missing is no goal.
    """
    return {
        name: next((block for block in artefact.experiments if block in blocks), None)
        for name, artefact in ARTEFACTS.items()
        if not artefact.experiments or set(artefact.experiments) & set(blocks)
    }
