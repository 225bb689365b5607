"""The settings of a study that its claims depend on, from the files beside its tables."""

import json

from mpdit import paper  # noqa: F401  # registers the claims
from mpdit.rendering.claims.settings import NO_SETTINGS, read_settings
from mpdit.rendering.registry import CLAIMS


def test_a_study_without_these_files_has_no_settings(tmp_path):
    assert read_settings(tmp_path) == NO_SETTINGS


def test_primary_claims_that_changed_after_the_lock_are_not_primary(tmp_path):
    lock = {"rates": {"E": 0.01}, "seeds": {"E": [0]}, "primary": ["preservation"], "metrics": {}, "bounds": {}}
    now = lock | {"seeds": {"E": [0, 1]}}
    (tmp_path / "plan.json").write_text(json.dumps({"runs": [], "primary": ["preservation"], "lock": now}))
    unlocked = read_settings(tmp_path)
    assert (unlocked.primary, unlocked.lock_hash) == (("preservation",), "")
    assert unlocked.changed == ("there is no study-lock.json",)
    assert not unlocked.is_primary(CLAIMS["preservation"])
    (tmp_path / "study-lock.json").write_text(json.dumps(lock))
    settings = read_settings(tmp_path)
    assert settings.changed == ("training seeds",)
    assert len(settings.lock_hash) == 12
