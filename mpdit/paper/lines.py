"""What figures share: which panels and lines a study has, and a sentence on the runs that have nothing to draw."""

from .. import results, summary, tables


def model_panels(runs) -> list[tuple[str, list]]:
    """A panel a model and modulation: its title, and for each line in it the label, the letter and its runs (seeds)."""
    panels = []
    for (model, modulation), rows in summary.in_order(runs).groupby(["model", "modulation"], sort=False):
        lines = []
        for (letter, lr), members in rows.groupby(["config", "lr"], sort=False):
            one_rate = rows.loc[rows["config"] == letter, "lr"].nunique() == 1
            lines.append((letter if one_rate else f"{letter} {tables.rate(lr)}", letter, members))
        panels.append((f"{model}, {results.modulation_name(modulation)}", lines))
    return panels


def left_out(runs, drawn) -> str:
    """A sentence on the runs that have nothing to draw; empty when all have."""
    absent = summary.in_order(runs[~runs["run"].isin(set(drawn))])
    counts = absent.groupby(["config", "status"], sort=False).size()
    words = [f"{letter} ({count} {status})" for (letter, status), count in counts.items()]
    return f"Not drawn: {', '.join(words)}." if words else ""
