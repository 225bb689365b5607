"""The registry of what a study shows: tables, figures, claims, and which of its runs are published elsewhere.

To add a table or a figure, decorate a function of the aggregated tables with `table` or `figure`; to add a claim, call
`claim`. `mpdit.paper` registers the paper's in this way. Snakemake imports this module and what registers itself each
time it parses the workflow, so pandas, matplotlib and torch are loaded inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from ..experiment.columns import AGGREGATES, HELDOUT_AGGREGATES
from ..experiment.published import published_setting
from ..experiment.study_file import registry
from ..system.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ..results.shown_study import ShownStudy
    from .claims.evidence import Finding, Study
    from .claims.settings import StudySettings

__all__ = [
    "ARTIFACTS", "CLAIMS", "INTRODUCTIONS", "Artifact", "ArtifactData", "Claim", "claim", "claim_bounds", "figure",
    "goals", "introduction", "published_setting", "require_claims", "table",
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Tables and figures


class ArtifactData(TypedDict, total=False):
    """What the function of an artifact gets: exactly what the artifact names in `reads`."""

    runs: pd.DataFrame
    fid: pd.DataFrame
    training: pd.DataFrame
    magnitudes: pd.DataFrame
    angles: pd.DataFrame
    heldout: pd.DataFrame
    heldout_images: pd.DataFrame
    cost: pd.DataFrame | None  # None: step times were not measured
    settings: StudySettings  # from plan.json and study-lock.json
    study: ShownStudy  # what the study has defined, always
    experiments: dict[str, ArtifactData]  # by block of the study: runs, fid and, where there are any, held-out losses
    interim: bool  # whether runs of the study are missing, so that nothing is decided
    samples: Path  # the folder of run folders, which hold the samples.npz of the scored runs


Make = Callable[[ArtifactData], Any]  # the result is a table_format.Table or a matplotlib figure


@dataclass(frozen=True)
class Artifact:
    """A table (.csv, .md and .tex) or a figure (.pdf and .png)."""

    name: str  # of its files
    kind: Literal["table", "figure"]
    title: str  # in the report
    section: str  # heading of the report under which it appears
    experiments: tuple[str, ...]  # blocks of the configuration that it can be made from; empty: made from all runs
    reads: tuple[str, ...]  # keys of ArtifactData
    caption: str
    make: Make
    reads_optional: tuple[str, ...] = ()  # likewise, but left out of ArtifactData where the study does not have them

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of its files. The first is the one that the workflow asks for."""
        return (".csv", ".md", ".tex") if self.kind == "table" else (".pdf", ".png")


ARTIFACTS: dict[str, Artifact] = registry({})


def table(
    name: str,
    *,
    experiments: tuple[str, ...],
    reads: tuple[str, ...],
    caption: str,
    reads_optional: tuple[str, ...] = (),
    title: str = "",
    section: str = "Tables",
) -> Callable[[Make], Make]:
    """Register the decorated function, ArtifactData -> table_format.Table, as the table `name`.

    `title` defaults to the name, with spaces for underscores.
    """
    return _registering("table", name, title, section, experiments, reads, caption, reads_optional)


def figure(
    name: str,
    *,
    experiments: tuple[str, ...],
    reads: tuple[str, ...],
    caption: str,
    reads_optional: tuple[str, ...] = (),
    title: str = "",
    section: str = "Figures",
) -> Callable[[Make], Make]:
    """Register the decorated function, ArtifactData -> matplotlib figure, as the figure `name`.

    `title` defaults to the name, with spaces for underscores.
    """
    return _registering("figure", name, title, section, experiments, reads, caption, reads_optional)


def _registering(
    kind: Literal["table", "figure"],
    name: str,
    title: str,
    section: str,
    experiments: tuple[str, ...],
    reads: tuple[str, ...],
    caption: str,
    reads_optional: tuple[str, ...],
) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        shown = title or name.replace("_", " ").capitalize()
        _add(ARTIFACTS, Artifact(name, kind, shown, section, experiments, reads, caption, make, reads_optional))
        return make

    return register


def goals(blocks: Collection[str], aggregates: Collection[str] = AGGREGATES) -> dict[str, str | None]:
    """The artifacts of a study with these blocks, each with the block that it is made from (None: from all runs).

    An artifact is made from the first of its `experiments` that the study has; if it has none of them, the artifact is
    left out. So is one that reads held-out losses, where these are not among the study's `aggregates`.
    """
    unknown = set(HELDOUT_AGGREGATES) - set(aggregates)
    return {
        name: next((block for block in artifact.experiments if block in blocks), None)
        for name, artifact in ARTIFACTS.items()
        if (not artifact.experiments or set(artifact.experiments) & set(blocks)) and not unknown & set(artifact.reads)
    }


# ---------------------------------------------------------------------------------------------------------------------
# Claims

Quantity = Callable[["Study", str, str], "list[Finding]"]  # (study, model, data) -> findings; see claims.evidence
Unit = Literal["%", "×", "points"]  # % and × measure a ratio, points a difference


@dataclass(frozen=True)
class Claim:
    """A published sentence, the quantity that tests it, and the range in which the quantity must lie, in `unit`."""

    name: str
    sentence: str  # {metric} in it stands for the metric that decides
    quantity: Quantity
    unit: Unit
    low: float = -math.inf
    high: float = math.inf
    published: str = ""  # the published numbers; empty where there are none
    reason: str = ""  # for the choice of bounds


CLAIMS: dict[str, Claim] = registry({})


def claim(
    name: str,
    sentence: str,
    quantity: Quantity,
    unit: Unit,
    low: float = -math.inf,
    high: float = math.inf,
    published: str = "",
    reason: str = "",
) -> Claim:
    """Register a claim. It is judged on every model and data set of the study, in the order of registration.

    With the first claim comes the table of verdicts, `claims`.
    """
    made = Claim(name, sentence, quantity, unit, low, high, published, reason)
    _add(CLAIMS, made)
    ARTIFACTS.setdefault(VERDICTS.name, VERDICTS)
    return made


def _verdicts(data: ArtifactData) -> Any:
    from .claims.table import claims_table

    return claims_table(CLAIMS.values(), data)


VERDICTS = Artifact(
    name="claims",
    kind="table",
    title="Verdicts",
    section="Claims",
    experiments=(),
    reads=("runs", "fid", "magnitudes", "cost", "settings"),
    reads_optional=HELDOUT_AGGREGATES,
    caption="The claims of this study, and what its runs say about them.",
    make=_verdicts,
)


def claim_bounds() -> dict[str, tuple[float, float]]:
    """The bounds of each registered claim, in its unit."""
    return {name: (registered.low, registered.high) for name, registered in CLAIMS.items()}


def require_claims(names: Collection[str]) -> None:
    """Raise UserError for a primary claim of the configuration that is not registered."""
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        known = f"one of {', '.join(CLAIMS)}" if CLAIMS else "none, since no claim is registered"
        raise UserError(f"claims.primary: unknown claim {unknown[0]!r}; expected {known}")


# ---------------------------------------------------------------------------------------------------------------------
# The report

INTRODUCTIONS: list[str] = []


def introduction(text: str) -> None:
    """Register sentences that open the report, such as what is being reproduced."""
    INTRODUCTIONS.append(text)


Item = TypeVar("Item", Artifact, Claim)


def _add(registered: dict[str, Item], item: Item) -> None:
    if item.name in registered:
        raise UserError(f"{item.name}: registered twice: each table, figure and claim needs a name of its own")
    registered[item.name] = item
