"""Results record the commit and the versions that produced them."""

import platform
import re
import subprocess

from mpdit.system import provenance
from mpdit.system.provenance import commit, versions


def test_the_commit_is_that_of_the_source(monkeypatch):
    value = commit()
    assert value is None or re.fullmatch(r"[0-9a-f]{40}", value)

    def fail(*_, **__):
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(subprocess, "run", fail)
    assert commit() is None


def test_versions_of_missing_packages_are_none(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert versions().keys() == {"python", "torch", "no-such-package"}
    assert versions()["python"] == platform.python_version()
    assert versions()["torch"] and versions()["no-such-package"] is None
