"""The settings of a study that its claims depend on, from the files beside its tables."""

import json

from mpdit.rendering.claims.settings import NO_SETTINGS, read_settings


def test_a_study_without_these_files_has_no_settings(tmp_path):
    assert read_settings(tmp_path) == NO_SETTINGS


def test_primary_claims_that_changed_after_the_lock_are_not_primary(tmp_path):
    lock = {"rates": {"E": 0.01}, "seeds": {"E": [0]}, "primary": ["preservation"], "metrics": {}, "bounds": {}}
    now = lock | {"seeds": {"E": [0, 1]}}
    (tmp_path / "plan.json").write_text(json.dumps({"runs": [], "primary": ["preservation"], "lock": now}))
    assert (read_settings(tmp_path).primary, read_settings(tmp_path).lock_hash) == (("preservation",), "")
    (tmp_path / "study-lock.json").write_text(json.dumps(lock))
    settings = read_settings(tmp_path)
    assert settings.changed == ("training seeds",)
    assert len(settings.lock_hash) == 12
