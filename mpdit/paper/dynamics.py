"""Figures over training: magnitude of the residual stream, sites within a block, norms of weights, learned gains."""

from ..experiment.ladder import LADDER
from ..rendering import style as plots
from ..rendering.lines import averaged, draw, last, left_out, model_panels, of, over_seeds, seeds_told, settings, whole
from ..rendering.registry import figure


@figure(
    "magnitudes_over_training",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitude of the residual stream over training, as the mean over blocks and behind the last block: mean "
    "over noise levels and seeds, shaded from the lowest to the highest seed. Step 0 is the initialisation, later "
    "points are snapshots of the EMA. The paper sees A grow, and C and E stay bounded.",
)
def magnitudes_over_training(data):
    runs, found = data["runs"], data["magnitudes"]
    found = found[(found["kind"] == "activation") & (found["site"] == "residual") & (found["block"] >= 0)]
    found = averaged(whole(found, runs, "step"), "step", "block")
    behind = found[found["block"] == found.groupby("run")["block"].transform("max")]
    panels, latest = model_panels(runs), _latest(runs, found)
    canvas, grid = plots.panels(len(panels), 2, height=2.6, sharey="row")
    ends = {}
    for (title, lines), row in zip(panels, grid, strict=True):
        for axes, place, rows in zip(row, ("mean over blocks", "behind the last block"), (found, behind), strict=True):
            axes.set_title(f"{title}, {place}" if len(panels) > 1 else place)
            plots.step_axis(axes, latest)
            ends[axes] = [
                end for label, look, members in lines for end in _over_steps(axes, label, look, rows, members)
            ]
        row[0].set_ylabel("magnitude of the residual stream")
        plots.positive_axis(row[0])
    plots.footnote(canvas, f"{seeds_told(runs)} {left_out(runs, found['run'])}")
    plots.label_ends(canvas, ends)
    return canvas


def _over_steps(axes, label: str, look, rows, members, spread: str = "run") -> list:
    return draw(axes, label, look, over_seeds(of(rows, members), "step", spread=spread))


def _latest(runs, rows) -> int:
    """The last step that a time axis must hold."""
    return max(runs["steps"].max(), rows["step"].max() if len(rows) else 0)


# Site of `mpdit.model.magnitudes`: how its panel is headed.
SITES = {
    "attention_input": "attention, input",
    "attention_output": "attention, output",
    "mlp_input": "MLP, input",
    "mlp_output": "MLP, output",
    "residual": "residual stream",
}


@figure(
    "sites",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Magnitudes within a block: what attention and the MLP get (after normalisation and modulation) and give "
    "(before the gate), and the residual stream behind them. First along the depth after training, then over training "
    "as the mean over blocks, shaded from the lowest to the highest block; means over noise levels and seeds. Where "
    "D keeps a LayerNorm, E has none.",
)
def sites(data):
    runs, found = data["runs"], data["magnitudes"]
    found = found[(found["kind"] == "activation") & (found["block"] >= 0) & found["site"].isin(SITES)]
    found = averaged(whole(found, runs, "step"), "step", "block", "site")
    final, panels, latest = last(found), model_panels(runs), _latest(runs, found)
    canvas, grid = plots.panels(2 * len(panels), len(SITES), height=1.7, sharey="row")
    looks = {}
    for place, (title, lines) in enumerate(panels):
        depth, training = grid[2 * place], grid[2 * place + 1]
        for site, along, over in zip(SITES, depth, training, strict=True):
            after, always = final[final["site"] == site], found[found["site"] == site]
            along.set(title=SITES[site], xlabel="block")
            plots.step_axis(over, latest)
            over.locator_params(axis="x", nbins=2)
            for label, look, members in lines:
                blocks = over_seeds(of(after, members).assign(block=lambda rows: rows["block"] + 1), "block")
                if draw(along, label, look, blocks):
                    along.set_xticks(plots.whole_ticks(int(blocks.index.max()), most=4))
                    looks[label] = plots.LOOKS[look]
                over_steps = over_seeds(of(always, members), "step", spread="block")
                draw(over, label, plots.LOOKS[look] | {"markevery": 0.3, "markersize": 3}, over_steps)
        depth[0].set_ylabel("after training")
        training[0].set_ylabel("over training")
        for row in (depth, training):
            plots.positive_axis(row[0])
        if len(panels) > 1:
            depth[0].set_title(f"{title}\n{SITES['attention_input']}")
    plots.key(canvas, looks)
    told = "Magnitudes. Over training: mean over blocks, shaded from the lowest to the highest block."
    plots.footnote(canvas, f"{told} {left_out(runs, found['run'])}")
    plots.label_ends(canvas, {axes: [] for axes in grid.flat})
    return canvas


@figure(
    "weights",
    experiments=("table1",),
    reads=("runs", "magnitudes"),
    caption="Norms of weights: root mean square norm of the stored rows over the norm of a row that preserves "
    "magnitude. Over training, as the mean over blocks, shaded from the lowest to the highest block; and after "
    "training by block, with what stands before the blocks (in) and the final layer (out). Means over seeds. Without "
    "forced normalisation C's norms can only grow; D and E put rows back on the sphere and stand at 1.",
)
def weights(data):
    runs, found = data["runs"], data["magnitudes"]
    found = whole(found[(found["kind"] == "weight") & (found["site"] == "all")], runs, "step")
    depth = found.groupby("run")["block"].transform("max")  # the final layer
    inside, final = found[(found["block"] >= 0) & (found["block"] < depth)], last(found)
    panels, latest = model_panels(runs), _latest(runs, found)
    canvas, grid = plots.panels(len(panels), 2, height=2.6, sharey="row")
    ends = {}
    for (title, lines), (over, along) in zip(panels, grid, strict=True):
        over.set_title(f"{title}, over training" if len(panels) > 1 else "over training")
        along.set(title="after training", xlabel="block")
        plots.step_axis(over, latest)
        ends[over], ends[along] = [], []
        for label, look, members in lines:
            ends[over] += _over_steps(over, label, look, inside, members, spread="block")
            blocks = over_seeds(of(final, members).assign(block=lambda rows: rows["block"] + 1), "block")
            ends[along] += draw(along, label, look, blocks)
            if len(blocks):
                _in_to_out(along, int(blocks.index.max()))
        over.set_ylabel("norm of weights")
        plots.positive_axis(over)
    told = "Left: mean over blocks, shaded from the lowest to the highest block. in: embeddings; out: the final layer."
    plots.footnote(canvas, f"{told} {left_out(runs, found['run'])}")
    plots.label_ends(canvas, ends)
    return canvas


def _in_to_out(axes, out: int) -> None:
    """An axis of blocks from what stands before them, at 0, to the final layer, at `out`."""
    ticks = plots.whole_ticks(out - 1)
    axes.set_xticks([*ticks, out], ["in", *map(str, ticks[1:]), "out"])
    axes.set_xlim(-0.02 * out, 1.15 * out)


HEADS = ("scale", "shift", "angle", "direction", "gate")  # of a block's modulation, in the order of panels
BRANCHES = {"attention": "-", "mlp": (0, (3, 1))}  # of lines
FINAL = {
    head: {"color": color, "linestyle": style}
    for head, color, style in (
        ("scale", "0", "-"),
        ("shift", "0.25", (0, (3, 1))),
        ("noise", "0.4", (0, (1, 1))),
        ("variance", "0.5", (0, (5, 1, 1, 1))),
    )
}


@figure(
    "gains",
    experiments=("table1", "table2"),
    reads=("runs", "magnitudes"),
    caption="Learned gains over training, one scalar a head and block, signed, 0 at the start; means over seeds. "
    "Solid: the attention's branch, dashed: the MLP's; from dark to light: from the first block to the last. The final "
    "layer has gains of its own for scale, shift, noise and variance. A and B have no gains.",
)
def gains(data):
    runs, found = data["runs"], data["magnitudes"]
    runs = runs[[LADDER[letter].weights != "plain" for letter in runs["config"]]]
    found = whole(found[found["kind"] == "gain"], runs, "step")
    drawn = [(title, members) for title, members in settings(runs) if members["run"].isin(found["run"]).any()]
    found = averaged(found, "step", "block", "site")
    branch, _, head = (
        zip(*(site.rpartition("_") for site in found["site"]), strict=True) if len(found) else ((), (), ())
    )
    found = found.assign(branch=[name or "final" for name in branch], head=list(head))
    kinds = [kind for kind in HEADS if ((found["head"] == kind) & (found["branch"] != "final")).any()]
    latest = _latest(runs, found)
    canvas, grid = plots.panels(max(len(drawn), 1), len(kinds) + 1, height=1.7, sharey="row")
    ends = {axes: [] for axes in grid.flat}
    for (title, members), row in zip(drawn, grid, strict=False):
        rows = of(found, members)
        means = rows.groupby(["step", "block", "branch", "head"])["magnitude"].mean().unstack("step")
        blocks = plots.ramp(sorted(rows.loc[rows["branch"] != "final", "block"].unique()))
        for (block, branch, head), line in means.iterrows():
            axes = row[-1] if branch == "final" else row[kinds.index(head)]
            look = FINAL[head] if branch == "final" else {"linestyle": BRANCHES[branch], **blocks[block]}
            end = plots.line(axes, f"{branch} {head} {block + 1}", {"linewidth": 1, **look}, line.index, line)
            if branch == "final":
                ends[axes].append((head, *end[1:]))
        for axes, kind in zip(row, [*kinds, "final layer"], strict=True):
            axes.set_title(kind)
            axes.axhline(0, color="0.6", linewidth=0.6, zorder=1)
            plots.step_axis(axes, latest)
            axes.set_xticks([0, latest])
        row[-1].set_xlim(0, 1.8 * latest)  # room for the names of heads
        row[0].set_title(f"{title}\n{row[0].get_title(loc='left')}")
        row[0].set_ylabel("gain")
    told = "Solid: attention, dashed: MLP; from dark to light: from the first block to the last."
    plots.footnote(canvas, f"{told} {left_out(runs, found['run'])}" if len(runs) else "No letter here has gains.")
    plots.label_ends(canvas, ends)
    return canvas
