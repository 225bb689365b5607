"""What a study has said beforehand: its primary claims, its controls, and the lock file that fixed its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...results.study_lock import LOCK_FILE, PlannedStudy, StudyLock, read_lock, read_planned_study
from ..registry import Claim

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StudySettings:
    """The settings of a study that its claims depend on."""

    primary: tuple[str, ...] = ()  # names of claims
    controls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # block: names of its runs
    lock_hash: str = ""
    changed: tuple[str, ...] = ()  # what differs from the lock file, or that there is none, in words

    def is_primary(self, claim: Claim) -> bool:
        """Whether the claim was primary before the first run, and nothing that it depends on has changed since."""
        return claim.name in self.primary and not self.changed


NO_SETTINGS = StudySettings()


def read_settings(folder: Path) -> StudySettings:
    """The settings of the study whose plan.json and study-lock.json are in this folder; either may be missing."""
    planned = read_planned_study(folder / "plan.json") if (folder / "plan.json").exists() else PlannedStudy()
    path = folder / LOCK_FILE
    lock = read_lock(path) if path.exists() else None
    return settings_of(planned, lock)


def settings_of(planned: PlannedStudy, lock: StudyLock | None) -> StudySettings:
    """The settings of a study, of which nothing is primary that no lock file has fixed."""
    changed = lock.differences(planned.lock) if lock and planned.lock else ()
    if planned.primary and not lock:
        changed = (f"there is no {LOCK_FILE}",)
    return StudySettings(planned.primary, planned.controls, lock.hash if lock else "", changed)


def without_controls(runs: pd.DataFrame, settings: StudySettings) -> pd.DataFrame:
    """The runs but for those that only the controls have."""
    members = {run for names in settings.controls.values() for run in names}
    return runs[~runs["run"].isin(members)]
