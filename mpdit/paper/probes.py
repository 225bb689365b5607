"""Figures of what probes see: angles of rotation, and magnitudes under correlated inputs."""

from ..rendering import style as plots
from ..rendering.lines import averaged, draw, last, left_out, model_panels, of, over_seeds, settings, whole
from ..rendering.registry import figure

BRANCHES = {"attention_angle": "attention", "mlp_angle": "MLP"}


@figure(
    "angles",
    experiments=("table2",),
    reads=("runs", "angles"),
    caption="Angles by which pairs are turned, root mean square over pairs and images, by block and noise level (from "
    "dark to light: timesteps from little to much noise), after training; 0 at the start. Means over seeds, shaded "
    "from the lowest to the highest seed.",
)
def angles(data):
    runs = data["runs"]
    found = last(whole(data["angles"], runs, "step")).assign(block=lambda rows: rows["block"] + 1)
    turned = runs[runs["modulation"].isin(("rotate", "scale_rotate")) | runs["run"].isin(found["run"])]
    drawn = settings(turned)
    canvas, grid = plots.panels(max(len(drawn), 1), len(BRANCHES), height=2.4, sharey="row")
    looks = plots.ramp(sorted(found["timestep"].unique()))
    ends = {axes: [] for axes in grid.flat}
    for (title, members), row in zip(drawn, grid, strict=False):
        mine = of(found, members)
        for axes, (site, branch) in zip(row, BRANCHES.items(), strict=True):
            axes.set(title=f"{title}: {branch}" if len(drawn) > 1 else branch, xlabel="block")
            for timestep, rows in mine[mine["site"] == site].groupby("timestep"):
                look = looks[timestep] | {"marker": "o", "markersize": 2.5}
                ends[axes] += draw(axes, f"t = {timestep:g}", look, over_seeds(rows, "block", "radians"))
            if len(mine):
                depth = int(mine["block"].max())
                axes.set_xticks([tick for tick in plots.whole_ticks(depth) if tick])
                axes.set_xlim(1 - 0.03 * depth, 1 + 1.25 * max(depth - 1, 1))
        row[0].set_ylabel("angle (radians, root mean square)")
        if len(mine):
            row[0].set_ylim(bottom=0)
    told = "t: noise level, of 1,000."
    plots.footnote(canvas, f"{told} {left_out(turned, found['run'])}" if drawn else "No run of this study turns pairs.")
    plots.label_ends(canvas, ends)
    return canvas


LETTERS = ("A", "C", "E")  # compared under correlated inputs: without, with LayerNorm, and with magnitudes alone
SITES = {"attention_output": "attention, output", "mlp_output": "MLP, output", "residual": "residual stream"}


@figure(
    "correlated",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitudes where inputs are correlated: normal latents of magnitude 1 in the place of noisy images, whose "
    "neighbouring pixels have the correlation on the x axis (0: independent, as the lemmas presume), at initialisation "
    "and after training. Means over blocks, noise levels and seeds, shaded from the lowest to the highest block.",
)
def correlated(data):
    runs, found = data["runs"], data["magnitudes"]
    runs = runs[runs["config"].isin(LETTERS)]
    found = found[(found["kind"] == "correlated") & (found["block"] >= 0) & found["site"].isin(SITES)]
    found = averaged(whole(found, runs, "step"), "step", "block", "site", "correlation")
    panels, whens = model_panels(runs), {"at initialisation": found[found["step"] == 0], "after training": last(found)}
    canvas, grid = plots.panels(len(whens) * max(len(panels), 1), len(SITES), height=1.9, sharey="row")
    places = {value: place for place, value in enumerate(sorted(found["correlation"].unique()))}
    found_ends = {axes: [] for axes in grid.flat}
    for number, (title, lines) in enumerate(panels):
        for (when, rows), row in zip(whens.items(), grid[len(whens) * number :], strict=False):
            for axes, (site, name) in zip(row, SITES.items(), strict=True):
                here = rows[rows["site"] == site]
                here = here.assign(place=here["correlation"].map(places))
                for label, look, members in lines:
                    points = over_seeds(of(here, members), "place", spread="block")
                    found_ends[axes] += draw(axes, label, look, points)
                axes.set(title=name, xlabel="correlation of neighbours")
                axes.set_xticks(list(places.values()), [f"{value:g}" for value in places])
                axes.set_xlim(-0.2, max(len(places) - 1, 1) * 1.15)
            row[0].set_title(
                f"{title}\n{SITES['attention_output']}"
                if len(panels) > 1 and when == "at initialisation"
                else SITES["attention_output"]
            )
            row[0].set_ylabel(f"magnitude\n{when}")
            plots.positive_axis(row[0])
    told = (
        "Mean over blocks, shaded from the lowest to the highest block. Inputs have magnitude 1 at every correlation."
    )
    plots.footnote(canvas, f"{told} {left_out(runs, found['run'])}")
    plots.label_ends(canvas, found_ends)
    return canvas
