"""Figures of the ladder: magnitudes along the depth, losses, samples."""

from ..experiment.ladder import ADDS
from ..rendering import style as plots
from ..rendering.lines import left_out, model_panels
from ..rendering.registry import figure


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
    panels = model_panels(runs)
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
    plots.footnote(canvas, f"{told} {left_out(runs, final['run'])}")
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
    panels = model_panels(runs)
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
    plots.footnote(canvas, left_out(runs, training["run"]))
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
    panels = model_panels(runs)
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
