"""The report: everything in one file, and nothing that has to be fetched."""

import base64
import copy
import io
import json
import re
from html.parser import HTMLParser

import pytest
import yaml
from helpers.interim_studies import CONFIG, interim
from PIL import Image

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.rendering import report, style


class Page(HTMLParser):
    """What a browser would see: text, references, pictures, identifiers. Elements must be closed in turn."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.references, self.pictures, self.ids, self.tags, self.words = [], [], [], [], set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.references += [values[name] for name in ("src", "href", "srcset", "data", "action") if name in values]
        self.pictures += [values["src"]] if tag == "img" else []
        self.ids += [values["id"]] if "id" in values else []
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
    assert interim(study) == 1  # because of the defect of angle_map
    return Page((study / "interim/report.html").read_text())


def test_it_refers_to_nothing_outside_itself(study, page):
    assert page.references
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in page.references)
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= set(page.ids)
    assert not re.search(r"url\(|@import", (study / "interim/report.html").read_text())
    assert not page.tags & {"script", "link", "iframe", "object"}


def test_pictures_are_those_of_the_figures(study, page):
    (picture,) = page.pictures
    content = base64.b64decode(picture.removeprefix("data:image/png;base64,"), validate=True)
    assert content == (study / "interim/figures/loss.png").read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.width == 200 * style.WIDTH


def test_it_has_tables_captions_runs_versions_and_configuration(page):
    for words in (
        "The ladder.", "Loss of A & <E>.", "a|b <script>alert(1)</script>", "pipe & tag", "Table 1", "Figure 1: Loss",
        "4 runs: 2 trained, 1 started but not finished, 1 not started", "Training took 41 s in total",
        "cpu, 1 CPU thread (2 runs)", "torch 2.14 (2 runs)", "c0ffee (2 runs)", "batch_size: 128", "table2 (table2)",
    ):  # fmt: skip
        assert words in page.text, words
    for run in Experiment(CONFIG).runs:
        assert run in page.text
    assert "table" in page.tags
    assert {"table1", "loss", "angle_map", "runs", "provenance", "configuration"} <= set(page.ids)
    assert "table2" not in page.ids
    assert page.ids.index("table1") < page.ids.index("loss") < page.ids.index("claims") < page.ids.index("runs")


def test_it_explains_the_configurations(page):
    assert (
        "Config A is the baseline DiT. Each further configuration makes one change to the one before it: B, cosine "
        "attention; C, magnitude-preserving layers; D, forced weight normalization; E, no LayerNorm."
    ) in page.text


def test_a_missing_figure_is_one_line_in_the_final_report(study, capsys):
    interim(study)
    capsys.readouterr()
    words = ["report", study / "config.yaml", "--results", study / "interim", "--runs", study / "runs"]
    words += ["--output", study / "report.html"]
    assert main([str(word) for word in words]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"{study}/interim/figures/angle_map.png: no such file" in message
    assert not (study / "report.html").exists()


def test_the_complete_configuration_is_the_same_study():
    config = copy.deepcopy(CONFIG)
    config["experiments"]["table1"] |= {"sampling": {"seeds": 3}, "training": {"steps": "200"}, "lr": ["1e-3"]}
    experiment = Experiment(config)
    for text in (report.dump(experiment.configuration), json.dumps(experiment.configuration)):
        again = Experiment(yaml.safe_load(text))
        assert again.configuration == experiment.configuration
        assert again.runs == experiment.runs
        assert again.protocols == experiment.protocols
        assert again.execution == experiment.execution
