"""Registry of published settings: predicates that tell the runs whose results are published from all others.

A study whose numbers are printed beside those of a publication registers here what was trained there. A plan asks
`is_published` for each run and records the answer in the column `paper_setting`. Nothing is registered by default.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run_spec import RunSpec

PublishedSetting = Callable[["RunSpec"], bool]
PUBLISHED_SETTINGS: list[PublishedSetting] = []


def published_setting(matches: PublishedSetting) -> PublishedSetting:
    """Register a predicate that is true for the runs of a publication. Usable as a decorator."""
    PUBLISHED_SETTINGS.append(matches)
    return matches


def is_published(run: "RunSpec") -> bool:
    """Whether a registered setting matches the run; False without any."""
    return any(matches(run) for matches in PUBLISHED_SETTINGS)
