"""The report: one HTML file that holds a study's tables, figures, runs, versions and configuration, and opens offline.

It shows the files that lie in a folder of results, `<table>.md` and `figures/<figure>.png`, and computes nothing anew.
"""

import base64
import csv
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from .. import paper
from ..experiment.grid import Experiment
from ..system.console import duration
from ..system.errors import UserError
from ..system.files import write_text
from ..system.provenance import commit

# State of a run in runs.csv: in words.
STATES = {"trained": "trained", "running": "begun and not ended", "diverged": "diverged", "missing": "not begun"}


GROUPS = ("Tables", "Figures", "Claims")


def write(
    output: str | Path,
    experiment: Experiment,
    results: str | Path,
    runs: str | Path,
    notice: str | None = None,
    undrawn: Mapping[str, str] | None = None,
) -> None:
    """Write the report of `experiment`.

    Args:
        results: the folder of tables, figures/ and runs.csv, all of which must be there but the `undrawn`.
        runs: the folder of run folders; of these trained.json is read, for versions.
        notice: what must be known of the whole report, such as that it is interim.
        undrawn: name of an artefact that could not be made: the reason, shown in its place.

    Raises UserError for a file that is missing or damaged.
    """
    import jinja2

    results, rows = Path(results), _runs(Path(results) / "runs.csv")
    goals = paper.goals(experiment.blocks)
    items = _items(goals, results, undrawn or {})
    states = count_states(rows)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text())
    text = template.render(
        title=f"{', '.join(dict.fromkeys(run.model for run in experiment.runs.values()))} on {experiment.data['name']}",
        notice=notice,
        made=time.strftime("%Y-%m-%d %H:%M"),
        version=version("mpdit"),
        states=states,
        time_spent=duration(sum(float(row["seconds"] or 0) for row in rows)),
        groups={group: [item for item in items if item["group"] == group] for group in GROUPS},
        absent=[
            f"{name} ({' or '.join(artefact.experiments)})"
            for name, artefact in paper.ARTEFACTS.items()
            if name not in goals
        ],
        runs=[_shown(row) for row in rows],
        provenance=_provenance(rows, Path(runs)),
        configuration=dump(experiment.configuration),
    )
    write_text(output, text)


def count_states(rows: Iterable[Mapping]) -> str:
    """How many of the runs, rows of runs.csv, stand how: `20 runs: 12 trained, 8 not begun`."""
    counts = Counter(row["status"] for row in rows)
    told = ", ".join(f"{counts[state]} {words}" for state, words in STATES.items() if counts[state])
    return f"{_many(counts.total(), 'run')}: {told}"


def dump(configuration: Mapping) -> str:
    """A configuration as YAML: a line a field, lists and the axes of a block in one line each."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True))
    return yaml.dump(dict(configuration), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)


# ---------------------------------------------------------------------------------------------------------------------
# Tables and figures


def _items(goals: Iterable[str], results: Path, undrawn: Mapping[str, str]) -> list[dict]:
    """What the template shows of each artefact, in the registry's order."""
    from markupsafe import Markup

    items, figures = [], 0
    for name in goals:
        artefact = paper.ARTEFACTS[name]
        title = re.sub(r"\b(fid|kid|ema|lr)\b", lambda word: word[0].upper(), name.replace("_", " "))
        if artefact.kind == "table":
            title = re.sub(r"^table ?(\d+)", r"Table \1", title)
            title = title[0].upper() + title[1:]
        else:
            figures += 1
            title = f"Figure {figures}: {title}"
        body = None
        if name not in undrawn:
            body = (
                Markup(_table(results / f"{name}.md"))
                if artefact.kind == "table"
                else _picture(results / "figures" / f"{name}.png")
            )
        items.append({
            "name": name,
            "kind": artefact.kind,
            "group": "Claims" if name == "claims" else f"{artefact.kind}s".capitalize(),
            "title": title,
            "caption": artefact.caption,
            "body": body,
            "undrawn": undrawn.get(name),
        })  # fmt: skip
    return items


def _table(path: Path) -> str:
    """HTML of a Markdown table with its caption and notes; HTML and links within stay text."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = markdown.disable(["link", "image", "autolink", "reference"]).render(_read(path).decode())
    html = re.sub(r"\bDiT-\w+/\d\b", r'<span class="whole">\g<0></span>', html)
    html = html.replace('style="text-align:right"', 'class="number"')
    return html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _picture(path: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(_read(path)).decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: must be made first, by `snakemake {path.with_suffix('')}...`") from None


# ---------------------------------------------------------------------------------------------------------------------
# Runs, and where their numbers come from


RUN_COLUMNS = (
    "run", "status", "step", "steps", "loss", "images_per_second", "seconds", "peak_memory_mb", "device", "threads",
    "latents", "commit",
)  # fmt: skip


def _runs(path: Path) -> list[dict]:
    rows = list(csv.DictReader(_read(path).decode().splitlines()))
    missing = [column for column in RUN_COLUMNS if rows and column not in rows[0]]
    if missing:
        raise UserError(f"{path}: no column {missing[0]}: must be there; an older version wrote it, make it anew")
    return rows


def _shown(row: Mapping) -> dict:
    """A row of runs.csv as a reader sees it."""

    def number(column: str, form: str) -> str:
        return format(float(row[column]), form) if row[column] else "–"

    return {
        "run": row["run"],
        "status": STATES.get(row["status"], row["status"]),
        "step": number("step", ",.0f"),
        "steps": number("steps", ",.0f"),
        "loss": number("loss", ".4g"),
        "images_per_second": number("images_per_second", ",.0f"),
        "time": duration(float(row["seconds"])) if row["seconds"] else "–",
        "peak_memory_mb": number("peak_memory_mb", ",.0f"),
    }


def _provenance(rows: list[dict], runs: Path) -> dict[str, list[str]]:
    """term: its values, each with the number of runs that it holds for."""
    ended = [row for row in rows if row["device"]]
    versions = Counter()
    for row in ended:
        with suppress(OSError, ValueError, AttributeError):  # what cannot be read is counted nowhere
            found = json.loads((runs / row["run"] / "trained.json").read_text())["versions"]
            versions[", ".join(f"{name} {number}" for name, number in found.items() if number)] += 1
    hardware = Counter(f"{row['device']}, {_many(float(row['threads']), 'CPU thread')}" for row in ended)
    return {
        "hardware": _counted(hardware),
        "versions": _counted(versions),
        "commit of the training": _counted(Counter(row["commit"] or "not in a repository" for row in ended)),
        "commit of this report": [commit() or "not in a repository"],
        "latents": _counted(Counter(row["latents"] for row in ended)),
    }


def _counted(counts: Counter) -> list[str]:
    return [f"{value} ({_many(count, 'run')})" for value, count in counts.most_common()]


def _many(count: float, thing: str) -> str:
    return f"{count:,.0f} {thing}{'s' * (count != 1)}"
