"""What is rendered of a study: the registered tables and figures, and those of each block that no table claims."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..experiment.columns import AGGREGATES, SCHEMAS
from ..system.errors import UserError
from .every_block import COMPARISONS, OF_EVERY_BLOCK
from .registry import ARTIFACTS, Artifact
from .registry import goals as registered_goals

OTHER_TABLES = (
    "tuning",
    COMPARISONS.name,
)  # <name>.csv in the folder of results that are neither aggregated nor registered


@dataclass(frozen=True)
class Goal:
    """A table or a figure of a study."""

    artifact: Artifact
    block: str | None  # that it is made from; None: from all runs

    @property
    def file(self) -> str:
        """The file that stands for all of its files, as seen from the folder of results."""
        name = self.artifact.name
        return f"{name}.csv" if self.artifact.kind == "table" else f"figures/{name}.png"


def goals(blocks: Collection[str], aggregates: Collection[str] = AGGREGATES) -> dict[str, Goal]:
    """The tables and figures of a study with these blocks, by `Goal.file`: the registered ones, then all comparisons.

    Artifacts that read what the study does not aggregate are left out.
    """
    found = [Goal(ARTIFACTS[name], block) for name, block in registered_goals(blocks, aggregates).items()]
    found.append(Goal(COMPARISONS, None))
    claimed = {goal.block for goal in found if goal.artifact.kind == "table"}
    for block in blocks:
        if block not in claimed:
            found += [Goal(artifact, block) for artifact in of_block(block) if _is_readable(artifact, aggregates)]
    return {goal.file: goal for goal in found}


def _is_readable(artifact: Artifact, aggregates: Collection[str]) -> bool:
    return all(name in aggregates for name in artifact.reads if name in SCHEMAS and name != "cost")


def of_block(block: str) -> list[Artifact]:
    """The artifacts that every block has, as those of this one: the table `<block>`, and figures `<block>/<figure>`."""
    return [
        replace(
            artifact,
            name=block if artifact.kind == "table" else f"{block}/{artifact.name}",
            title=f"{block}: {artifact.title}",
            section=f"Experiment {block}",
            experiments=(block,),
        )
        for artifact in OF_EVERY_BLOCK
    ]


def figures_of(block: str) -> list[str]:
    """Names of the figures that a block has."""
    return [artifact.name for artifact in of_block(block) if artifact.kind == "figure"]


def names_of(block: str | None) -> list[str]:
    """Names of all artifacts that can be made of the results of a block (None: of all runs)."""
    return list(
        dict.fromkeys(
            [*ARTIFACTS, COMPARISONS.name, *(artifact.name for artifact in (of_block(block) if block else ()))]
        )
    )


def artifact_named(name: str, suffix: str, block: str | None) -> Artifact | None:
    """The artifact of a name whose files may have this suffix: a registered one, or one of the block.

    Where there is none whose files have the suffix, it is another one of the name; None where there is none at all.
    """
    every = (*ARTIFACTS.values(), COMPARISONS, *(of_block(block) if block else ()))
    named = [artifact for artifact in every if artifact.name == name]
    return next((artifact for artifact in named if suffix in artifact.suffixes), named[0] if named else None)


def require_block_names(blocks: Collection[str]) -> None:
    """Raise UserError for a block whose table would overwrite another file of the results."""
    tables = {name: artifact for name, artifact in ARTIFACTS.items() if artifact.kind == "table"}
    for block in blocks:
        if block in (*SCHEMAS, *OTHER_TABLES) or (block in tables and block not in tables[block].experiments):
            raise UserError(
                f"experiments.{block}: expected another name: results/{block}.csv is not the table of a block"
            )
