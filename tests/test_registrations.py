"""What is registered beside the general parts, and that it can be taken away."""

import pytest

from mpdit import registrations


def test_without_the_paper_nothing_is_registered_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(registrations, "PAPER", "mpdit.no_such_study")
    registrations.load()


def test_a_missing_dependency_of_the_paper_is_not_taken_for_a_missing_paper(monkeypatch, tmp_path):
    (tmp_path / "broken_study.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registrations, "PAPER", "broken_study")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        registrations.load()
