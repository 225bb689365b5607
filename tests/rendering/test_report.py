"""The report: all of it in one file, nothing of it fetched; and what is rendered while runs are still at work."""

import base64
import copy
import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml
from helpers.made_up_runs import write_run, write_training
from PIL import Image

from mpdit import paper
from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.rendering import report
from mpdit.rendering import style as plots
from mpdit.rendering import table_format as tables
from mpdit.rendering.registry import Artefact

CONFIG = {
    "data": {"name": "mnist8", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 128, "snapshots": 4},
    "sampling": {"steps": 50, "count": 1000},
    "scoring": {"features": "efficientnet-lite0"},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0, 1]},
    },
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four runs, A's trained, E's seed 0 half-way (scored when it had fewer steps), its seed 1 not begun; artefacts."""
    tmp_path = tmp_path_factory.mktemp("study")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for entry in Experiment(CONFIG).plan("table1")["runs"]:
        if entry["config"] == "A":
            write_run(tmp_path / "runs", entry)
        elif entry["seed"] == 0:
            folder = write_run(tmp_path / "runs", entry)
            (folder / "trained.json").unlink()
            write_training(folder, [(50, 0.75)])
    made = {
        "table1": Artefact("table1", "table", ("table1",), ("runs",), "The ladder.", make_table),
        "loss": Artefact("loss", "figure", ("table1",), ("runs", "training"), "Loss of A & <E>.", draw_loss),
        "angle_map": Artefact("angle_map", "figure", (), ("angles",), "All angles.", draw_angles),
        "claims": Artefact("claims", "table", (), ("runs",), "What the paper claims.", make_table),
        "table2": Artefact("table2", "table", ("table2",), ("runs",), "Of a block that is not there.", make_table),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "ARTEFACTS", made)
        patch.setattr("mpdit.rendering.registry.ARTEFACTS", made)
        yield tmp_path


def make_table(data):
    runs = data["runs"]
    rows = [[row["config"], "a|b <script>alert(1)</script>", f"{row['step']:g}"] for _, row in runs.iterrows()]
    return tables.Table(runs, ["config", "pipe & tag", "step"], rows, notes=["[A link](http://example.com), not set."])


def draw_loss(data):
    canvas, grid = plots.panels(1, 1, height=2)
    grid[0][0].plot(data["training"]["step"], data["training"]["loss"])
    return canvas


def draw_angles(data):
    raise KeyError("rotate")


def interim(study, *more) -> int:
    words = ["interim", study / "config.yaml", "--runs", study / "runs", "--output", study / "interim"]
    return main([str(word) for word in (*words, *more)])


class Page(HTMLParser):
    """What a browser would see: text, references, pictures, identifiers; opened elements must close in turn."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.references, self.pictures, self.ids, self.tags, self.words = [], [], [], [], set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.references += [given[name] for name in ("src", "href", "srcset", "data", "action") if name in given]
        self.pictures += [given["src"]] if tag == "img" else []
        self.ids += [given["id"]] if "id" in given else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += [data] if not {"style", "head"} & set(self.open) else []

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def page(study):
    assert interim(study) == 1  # the defect of angle_map
    return Page((study / "interim/report.html").read_text())


def test_it_refers_to_nothing_outside_itself(study, page):
    assert page.references
    assert all(found.startswith(("#", "data:image/png;base64,")) for found in page.references)
    assert {found[1:] for found in page.references if found.startswith("#")} <= set(page.ids)
    assert not re.search(r"url\(|@import", (study / "interim/report.html").read_text())
    assert not page.tags & {"script", "link", "iframe", "object"}


def test_pictures_are_those_of_the_figures(study, page):
    (picture,) = page.pictures
    content = base64.b64decode(picture.removeprefix("data:image/png;base64,"), validate=True)
    assert content == (study / "interim/figures/loss.png").read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.width == 200 * plots.WIDTH


def test_it_holds_tables_captions_runs_versions_and_configuration(study, page):
    for words in (
        "The ladder.", "Loss of A & <E>.", "a|b <script>alert(1)</script>", "pipe & tag",
        "4 runs: 2 trained, 1 begun and not ended, 1 not begun", "Training took 41 s in all",
        "cpu, 1 CPU thread (2 runs)", "torch 2.14 (2 runs)", "c0ffee (2 runs)", "batch_size: 128", "table2 (table2)",
    ):  # fmt: skip
        assert words in page.text, words
    for run in Experiment(CONFIG).runs:
        assert run in page.text
    assert "table" in page.tags
    assert {"table1", "loss", "angle_map", "runs", "provenance", "configuration"} <= set(page.ids)
    assert "table2" not in page.ids
    assert page.ids.index("table1") < page.ids.index("loss") < page.ids.index("claims") < page.ids.index("runs")


def test_interim_says_so_in_captions_pictures_and_report(study, page, monkeypatch):
    counted = (
        r"Interim, \d{4}-\d\d-\d\d \d\d:\d\d; 4 runs: 2 trained, 1 begun and not ended, 1 not begun; 3 of 4 scores\."
    )
    assert re.search(counted, page.text)
    for suffix in (".md", ".tex"):
        assert re.search(counted + r" The ladder\.", (study / "interim/table1").with_suffix(suffix).read_text())
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, output: drawn.extend(text.get_text() for text in figure.texts))
    interim(study)
    assert drawn[0] == "interim"
    assert re.fullmatch(counted, drawn[1])


def test_what_cannot_be_drawn_yet_costs_nothing_else(study, page, capsys):
    assert "Not here: KeyError: 'rotate'" in page.text
    assert interim(study) == 1
    told = capsys.readouterr()
    assert "angle_map: not drawn: KeyError: 'rotate'" in told.err
    assert "3 of 4 tables and figures drawn" in told.out
    runs = pd.read_csv(study / "interim/runs.csv")
    assert sorted(runs["status"]) == ["missing", "running", "trained", "trained"]
    assert not (study / "interim/figures/angle_map.png").exists()


def test_no_earlier_picture_stays_for_one_that_cannot_be_drawn_now(study, page):
    picture = study / "interim/figures/angle_map.png"
    picture.write_bytes(b"of yesterday")
    interim(study)
    assert not picture.exists()


def test_interim_writes_nothing_among_the_runs(study):
    def state():
        return {path: path.stat().st_mtime_ns for path in sorted((study / "runs").rglob("*"))}

    before = state()
    interim(study)
    assert state() == before


def test_a_missing_figure_is_one_line_in_the_final_report(study, capsys):
    interim(study)
    capsys.readouterr()
    words = ["report", study / "config.yaml", "--results", study / "interim", "--runs", study / "runs"]
    words += ["--output", study / "report.html"]
    assert main([str(word) for word in words]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{study}/interim/figures/angle_map.png: no such file" in told
    assert not (study / "report.html").exists()


def test_the_configuration_in_full_is_the_same_study():
    config = copy.deepcopy(CONFIG)
    config["experiments"]["table1"] |= {"sampling": {"seeds": 3}, "training": {"steps": "200"}, "lr": ["1e-3"]}
    experiment = Experiment(config)
    for text in (report.dump(experiment.configuration), json.dumps(experiment.configuration)):
        again = Experiment(yaml.safe_load(text))
        assert again.configuration == experiment.configuration
        assert (again.runs, again.protocols, again.execution) == (
            experiment.runs,
            experiment.protocols,
            experiment.execution,
        )


def test_each_artefact_is_drawn_from_the_first_block_that_is_there(study):
    assert paper.goals(["table1", "other"]) == {"table1": "table1", "loss": "table1", "angle_map": None, "claims": None}
    assert paper.goals(["table2"]) == {"angle_map": None, "claims": None, "table2": "table2"}
