"""Every table and figure, in the paper's order: each is one function and one registration.

A function takes `data`, the aggregated tables by name (pandas frames with the columns of `mpdit.aggregate`), and gives
a `tables.Table` or a matplotlib figure; its decorator says what it is, from which experiment and which tables it comes.
The workflow and `mpdit render` find it in `ARTEFACTS`. Snakemake imports this module each time it parses the workflow:
no torch, and pandas and matplotlib only inside functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import plots, results, summary, tables
from .configs import ADDS
from .errors import UserError
from .summary import NAN


@dataclass(frozen=True)
class Artefact:
    """A table (.csv, .md, .tex) or a figure (.pdf, .png)."""

    name: str
    kind: str  # table | figure
    experiments: tuple[str, ...]  # blocks of the configuration that it can be drawn from; none: from all runs
    reads: tuple[str, ...]  # aggregates by name, cost; and samples, the samples.npz of the scored runs
    caption: str
    make: Callable[[Mapping], object]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that it becomes; the first is the one to ask for."""
        return (".csv", ".md", ".tex") if self.kind == "table" else (".pdf", ".png")


ARTEFACTS: dict[str, Artefact] = {}


def _register(kind: str, name: str, *, experiments: tuple[str, ...], reads: tuple[str, ...], caption: str):
    def keep(make):
        ARTEFACTS[name] = Artefact(name, kind, experiments, reads, caption, make)
        return make

    return keep


table, figure = partial(_register, "table"), partial(_register, "figure")

# (model, letter, modulation): FID-10K of the paper, ImageNet 128x128, 400K steps (Tables 1 and 2). Nothing is derived.
PAPER_FID = {
    ("DiT-XS/2", "C", "scale_shift"): 86.49,
    ("DiT-XS/2", "D", "scale_shift"): 89.38,
    ("DiT-S/2", "E", "scale_shift"): 69.28,
    ("DiT-S/2", "E", "scale_rotate"): 70.86,
    ("DiT-S/2", "E", "scale"): 72.03,
}

# ---------------------------------------------------------------------------------------------------------------------
# Tables


@table(
    "table1",
    experiments=("table1",),
    reads=("runs", "fid", "cost"),
    caption="The ladder from the DiT baseline (A) to magnitude preservation without LayerNorm (E).",
)
def table1(data):
    rows = summary.summarize(data["runs"], data["fid"])
    rows = rows.assign(
        adds=rows["config"].map(ADDS),
        best=summary.best(rows),
        fid_change_percent=summary.change_from(rows, "A"),
        relative_step_time=summary.relative_time(rows, data.get("cost")),
        paper_fid=_paper_fid(rows),
    )
    return results.table(rows, results.COLUMNS, data.get("cost"))


def _paper_fid(rows) -> list[float]:
    """The paper's number of each row, where all of the row's setting is the paper's."""
    keys = rows[["model", "config", "modulation"]].itertuples(index=False, name=None)
    return [PAPER_FID.get(key, NAN) if same else NAN for key, same in zip(keys, rows["paper_setting"], strict=True)]


# ---------------------------------------------------------------------------------------------------------------------
# Figures


def _panels(runs) -> list[tuple[str, list]]:
    """A panel a model and modulation: its title, and for each line in it the label, the letter and its runs (seeds)."""
    panels = []
    for (model, modulation), rows in summary.in_order(runs).groupby(["model", "modulation"], sort=False):
        lines = []
        for (letter, lr), members in rows.groupby(["config", "lr"], sort=False):
            one_rate = rows.loc[rows["config"] == letter, "lr"].nunique() == 1
            lines.append((letter if one_rate else f"{letter} {tables.rate(lr)}", letter, members))
        panels.append((f"{model}, {results.modulation_name(modulation)}", lines))
    return panels


def _left_out(runs, drawn) -> str:
    """A sentence on the runs that have nothing to draw; empty when all have."""
    absent = summary.in_order(runs[~runs["run"].isin(set(drawn))])
    counts = absent.groupby(["config", "status"], sort=False).size()
    words = [f"{letter} ({count} {status})" for (letter, status), count in counts.items()]
    return f"Not drawn: {', '.join(words)}." if words else ""


@figure(
    "magnitudes",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitude of the residual stream along the depth, at initialisation and after training: mean over noise "
    "levels and seeds, shaded from the lowest to the highest level. Block 0 stands for what enters the first block.",
)
def magnitudes(data):
    runs, found = data["runs"], data["magnitudes"]
    found = found[(found["kind"] == "activation") & (found["site"] == "residual")]
    final = found[(found["step"] > 0) & (found["step"] == found.groupby("run")["step"].transform("max"))]
    panels = _panels(runs)
    canvas, grid = plots.panels(len(panels), 2, height=2.6, sharey="row")
    ends = {}
    for (title, lines), row in zip(panels, grid, strict=True):
        steps = final.loc[final["run"].isin({run for *_, members in lines for run in members["run"]}), "step"]
        after = f"after {steps.max():,} steps" if len(steps) else "after training"
        for axes, when, rows in zip(row, ("at initialisation", after), (found[found["step"] == 0], final), strict=True):
            axes.set(title=f"{title}, {when}" if len(panels) > 1 else when, xlabel="block")
            ends[axes] = [end for line in lines if (end := _along_depth(axes, rows, *line))]
        row[0].set_ylabel("magnitude of the residual stream")
        plots.positive_axis(row[0])
    told = (
        "Lines: mean over noise levels; shaded: from the lowest to the highest. Block 0: what enters the first block."
    )
    plots.footnote(canvas, f"{told} {_left_out(runs, final['run'])}")
    plots.label_ends(canvas, ends)
    return canvas


def _along_depth(axes, rows, label: str, letter: str, members):
    """A letter's magnitudes over the blocks; the end of its line, or None where it has none."""
    rows = rows[rows["run"].isin(members["run"])]
    levels = rows.groupby(["block", "timestep"])["magnitude"].mean().unstack()  # (blocks, noise levels), over seeds
    if levels.empty:
        return None
    blocks = levels.index + 1
    axes.set_xlim(-0.02 * blocks[-1], 1.15 * blocks[-1])
    axes.set_xticks(plots.whole_ticks(blocks[-1]))
    return plots.line(axes, label, letter, blocks, levels.mean(axis=1), levels.min(axis=1), levels.max(axis=1))


@figure(
    "loss",
    experiments=("table1",),
    reads=("runs", "training"),
    caption="Training loss (mean squared error of the noise, and the variational term) and its ratio to A's. Runs of a "
    "seed see the same images with the same noise, so the ratio is taken by seed and step; lines are means over seeds. "
    "A cross marks where a run diverged, at its last finite loss.",
)
def loss(data):
    runs, training = data["runs"], data["training"]
    training = training[training["loss"].abs() < float("inf")]
    panels = _panels(runs)
    canvas, grid = plots.panels(len(panels), 2, height=2.6)
    ends, last = {}, max(runs["steps"].max(), training["step"].max() if len(training) else 0)
    for (title, lines), (left, right) in zip(panels, grid, strict=True):
        both = ((left, training, "loss"), (right, _over_baseline(training, lines), "loss / loss of A"))
        for axes, rows, quantity in both:
            axes.set_title(title if len(panels) > 1 else "")
            axes.set_ylabel(quantity)
            plots.step_axis(axes, last)
            ends[axes] = [end for line in lines if (end := _loss_curve(axes, rows, *line))]
        plots.positive_axis(left)
        plots.late_limits(right, last / 10)
    plots.footnote(canvas, _left_out(runs, training["run"]))
    plots.label_ends(canvas, ends)
    return canvas


LOSS_POINTS = 100  # of a curve, at most: neighbouring logged steps are averaged


def _over_baseline(training, lines):
    """The rows with each loss divided by that of A's run of the same seed at the same step; none where A has no one."""
    import pandas as pd

    seeds = pd.concat([members[["run", "seed"]] for _, _, members in lines])
    rows = training.merge(seeds, on="run")
    baseline = [members["run"] for _, letter, members in lines if letter == "A"]
    base = rows[rows["run"].isin(baseline[0] if len(baseline) == 1 else [])]
    rows = rows.merge(base[["seed", "step", "loss"]], on=["seed", "step"], suffixes=("", "_of_a"))
    return rows.assign(loss=rows["loss"] / rows["loss_of_a"])


def _loss_curve(axes, training, label: str, letter: str, members):
    """A letter's loss over the steps; the end of its line, or None where it has none."""
    rows = training[training["run"].isin(members["run"])]
    if rows.empty:
        return None
    place = rows.groupby("run").cumcount()
    curve = rows.groupby(place // -(-(place.max() + 1) // LOSS_POINTS))[["step", "loss"]].mean()
    ended = rows[rows["run"].isin(members.loc[members["status"] == "diverged", "run"])].groupby("run").tail(1)
    axes.plot(ended["step"], ended["loss"], "x", color=plots.LOOKS[letter]["color"], ms=7, mew=1.8, zorder=5)
    return plots.line(axes, label, letter, curve["step"], curve["loss"], markevery=0.1)


SAMPLE_ROWS, SAMPLE_CLASSES = 5, 10


@figure(
    "samples",
    experiments=("table1",),
    reads=("runs", "fid", "samples"),
    caption="Samples of each letter, one class a column. Images in the same place are drawn from the same noise.",
)
def samples(data):
    runs, fid = data["runs"], data["fid"]
    scored = fid[fid["protocol"] == fid["protocol"].iloc[0]] if len(fid) else fid  # one protocol, so the same noise
    panels = _panels(runs)
    shown = [(f"\n{title}" if len(panels) > 1 else "", *line) for title, lines in panels for line in lines]
    across = min(3, max(len(lines) for _, lines in panels))
    canvas, grid = plots.panels(-(-len(shown) // across), across, height=4 / across)
    for axes in grid.flat:
        axes.set_axis_off()
        axes.set_anchor("N")
    for axes, (title, label, letter, members) in zip(grid.flat, shown, strict=False):
        members = members.sort_values("seed")
        run = next((run for run in members["run"] if run in set(scored["run"])), None)
        axes.set_title(f"{label}: {ADDS.get(letter, '')}{title}")
        if run is None:
            axes.set_box_aspect(SAMPLE_ROWS / SAMPLE_CLASSES)
            plots.say(axes, f"no samples: {members['status'].iloc[0]}")
        else:
            path = data["samples"] / run / "samples" / scored["protocol"].iloc[0] / "samples.npz"
            axes.imshow(plots.mosaic(path, SAMPLE_ROWS, SAMPLE_CLASSES))
    plots.footnote(canvas, "One class a column; images in the same place are drawn from the same noise.")
    return canvas


# ---------------------------------------------------------------------------------------------------------------------
# From files to files


def read(
    artefact: Artefact, folder: str | Path, cost: str | Path | None = None, runs: str | Path | None = None
) -> dict:
    """What an artefact reads: the aggregates in `folder`, the cost.csv given or else in `folder`, the folder of runs.

    UserError, one line, for a file that is missing or is not as it should be. Without any cost.csv `cost` is None.
    """
    from .aggregate import read_table

    folder, data = Path(folder), {}
    for name in artefact.reads:
        if name == "samples":
            if runs is None:
                raise UserError(f"--runs: missing: must name the folder of runs, whose samples {artefact.name} shows")
            data[name] = Path(runs)
        elif name == "cost" and cost is None and not (folder / "cost.csv").exists():
            data[name] = None
        else:
            data[name] = read_table(cost if name == "cost" and cost else folder / f"{name}.csv", name)
    return data


def render(artefact: Artefact, data: Mapping, output: str | Path) -> None:
    """Make the artefact and write every file of it: `output`, and beside it the other suffixes."""
    if artefact.kind == "table":
        tables.save(artefact.make(data), output, artefact.caption)
    else:
        with plots.style():
            plots.save(artefact.make(data), output)
