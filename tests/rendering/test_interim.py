"""What is rendered while runs are still being trained."""

import json
import re

import pandas as pd
import pytest
from helpers.interim_studies import interim

from mpdit.rendering import style
from mpdit.results.study_lock import read_lock

NOTICE = (
    r"Interim, \d{4}-\d\d-\d\d \d\d:\d\d; 4 runs: 2 trained, 1 started but not finished, 1 not started; "
    r"3 of 4 scores\."
)


@pytest.fixture(scope="module", autouse=True)
def rendered(study):
    assert interim(study) == 1  # because of the defect of angle_map


def test_captions_pictures_and_the_report_say_that_they_are_interim(study, monkeypatch):
    assert re.search(NOTICE, (study / "interim/report.html").read_text())
    for suffix in (".md", ".tex"):
        assert re.search(NOTICE + r" The ladder\.", (study / "interim/table1").with_suffix(suffix).read_text())
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, output: drawn.extend(text.get_text() for text in figure.texts))
    interim(study)
    assert drawn[0] == "interim"
    assert re.fullmatch(NOTICE, drawn[1])


def test_what_cannot_be_rendered_does_not_stop_the_rest(study, capsys):
    assert "Could not be rendered: KeyError: &#39;rotate&#39;" in (study / "interim/report.html").read_text()
    assert interim(study) == 1
    printed = capsys.readouterr()
    assert "figures/angle_map.png: not rendered: KeyError: 'rotate'" in printed.err
    assert "4 of 5 tables and figures rendered" in printed.out
    runs = pd.read_csv(study / "interim/runs.csv")
    assert sorted(runs["status"]) == ["missing", "running", "trained", "trained"]
    assert not (study / "interim/figures/angle_map.png").exists()


def test_no_earlier_picture_remains_for_one_that_cannot_be_rendered_now(study):
    picture = study / "interim/figures/angle_map.png"
    picture.write_bytes(b"of yesterday")
    interim(study)
    assert not picture.exists()


def test_the_lock_of_the_study_is_read_beside_its_runs(study):
    lock = {"rates": {}, "seeds": {}, "primary": [], "metrics": {}, "bounds": {}, "trained_before": False}
    (study / "study-lock.json").write_text(json.dumps(lock))
    interim(study)
    assert read_lock(study / "interim/study-lock.json") == read_lock(study / "study-lock.json")
    (study / "study-lock.json").unlink()
    interim(study)
    assert not (study / "interim/study-lock.json").exists()


def test_nothing_is_written_among_the_runs(study):
    def state():
        return {path: path.stat().st_mtime_ns for path in sorted((study / "runs").rglob("*"))}

    before = state()
    interim(study)
    assert state() == before
