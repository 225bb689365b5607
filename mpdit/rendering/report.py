"""The report: one HTML file with a study's tables, figures, runs, versions and configuration. It opens offline.

It shows the files in a folder of results, `<table>.md` and `figures/<figure>.png`, and computes nothing again.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ..experiment.grid import Experiment
from ..experiment.ladder import Rung
from ..system.console import duration
from ..system.files import write_text
from .goals import Goal, goals
from .registry import ARTIFACTS, INTRODUCTIONS
from .run_list import provenance, read_result, read_runs, read_text_result, run_lines, state_counts

FIRST_SECTIONS = ("Tables", "Figures")  # others follow in the order of registration


@dataclass(frozen=True)
class Item:
    """A table or a figure as the template shows it."""

    name: str
    kind: Literal["table", "figure"]
    title: str
    caption: str
    body: str | None  # HTML of a table, data URI of a figure; None if it could not be rendered
    problem: str | None  # why it could not be


def write(
    output: str | Path,
    experiment: Experiment,
    results: str | Path,
    runs: str | Path,
    notice: str | None = None,
    problems: Mapping[str, str] | None = None,
) -> None:
    """Write the report of `experiment`.

    Args:
        results: the folder with tables, figures/ and runs.csv. All must exist but those with `problems`.
        runs: the folder of run folders, whose trained.json files tell the versions.
        notice: what a reader must know about the whole report, such as that it is interim.
        problems: why an artifact could not be rendered, by its file; shown in its place.

    Raises UserError for a file that is missing or damaged.
    """
    import jinja2

    results, rows = Path(results), read_runs(Path(results) / "runs.csv")
    found = goals(experiment.blocks, experiment.aggregates)
    shown = [goal.artifact for goal in found.values()]
    models = dict.fromkeys(run.model for run in experiment.runs.values())
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    text = template.render(
        title=f"{', '.join(models)} on {experiment.data.name}",
        introductions=INTRODUCTIONS,
        configurations=_configurations((run.config for run in experiment.runs.values()), experiment.ladder.rungs),
        notice=notice,
        date=time.strftime("%Y-%m-%d %H:%M"),
        version=version("mpdit"),
        states=state_counts(row.status for row in rows),
        time_spent=duration(sum(row.seconds or 0 for row in rows)),
        sections=_sections(found, results, problems or {}),
        absent=[
            f"{name} ({' or '.join(artifact.experiments)})"
            for name, artifact in ARTIFACTS.items()
            if artifact not in shown
        ],
        runs=run_lines(rows),
        provenance=provenance(rows, Path(runs)),
        configuration=dump(experiment.configuration),
    )
    write_text(output, text)


def _configurations(configs: Iterable[str], rungs: Mapping[str, Rung]) -> str:
    """What the configurations of a study are, in words, with those that they build on."""
    names: set[str] = set()
    for config in configs:
        rung: str | None = config
        while rung is not None:
            names.add(rung)
            rung = rungs[rung].extends
    first, *others = (name for name in rungs if name in names)
    changes = []
    for before, name in pairwise((first, *others)):
        extends = rungs[name].extends
        changes.append(f"{name}{'' if extends == before else f' (from {extends})'}, {rungs[name].adds}")
    sentences = [f"Config {first} is the {rungs[first].adds}."]
    if changes:
        sentences.append(f"Each further configuration makes one change to the one before it: {'; '.join(changes)}.")
    return " ".join(sentences)


def dump(configuration: Mapping[str, Any]) -> str:
    """A configuration as YAML: one line per field, with lists and the axes of a block in one line each."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True))
    return yaml.dump(dict(configuration), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)


# ---------------------------------------------------------------------------------------------------------------------
# Tables and figures


def _sections(goals: Mapping[str, Goal], results: Path, problems: Mapping[str, str]) -> dict[str, list[Item]]:
    """The artifacts under the headings of the report, in the order of registration within each."""
    sections: dict[str, list[Item]] = {section: [] for section in FIRST_SECTIONS}
    figures = 0
    for file, goal in goals.items():
        artifact = goal.artifact
        title, is_table = artifact.title, artifact.kind == "table"
        if not is_table:
            figures += 1
            title = f"Figure {figures}: {title}"
        body = None
        if file not in problems:
            path = results / file
            body = _table(path.with_suffix(".md")) if is_table else _picture(path)
        # Sections of registered artifacts have their names alone, since links to them are shared.
        anchor = artifact.name if artifact in ARTIFACTS.values() else f"experiment-{file}"
        item = Item(anchor, artifact.kind, title, artifact.caption, body, problems.get(file))
        sections.setdefault(artifact.section, []).append(item)
    return {heading: items for heading, items in sections.items() if items}


def _table(path: Path) -> str:
    """HTML of a Markdown table with its caption and notes. HTML and links within it stay text."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = markdown.disable(["link", "image", "autolink", "reference"]).render(read_text_result(path))
    html = re.sub(r"\bDiT-\w+/\d\b", r'<span class="whole">\g<0></span>', html)
    html = html.replace('style="text-align:right"', 'class="number"')
    return Markup(html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>"))


def _picture(path: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(read_result(path)).decode()
