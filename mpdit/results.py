"""A table of scores: the rows of `mpdit.summary` as a reader sees them, with the notes that make them honest."""

from collections.abc import Callable, Mapping

from . import summary, tables
from .summary import NAN

MODULATION_NAMES = {"scale_shift": "scale + shift", "scale_rotate": "scale + rotate", "rotate_full": "full rotation"}

# Head of a column: what it shows of a row of `summary.summarize`. {fid} and {kid} are named after the features.
COLUMNS = {
    "config": lambda row: row["config"],
    "what it adds": lambda row: row["adds"],
    "model": lambda row: row["model"],
    "modulation": lambda row: modulation_name(row["modulation"]),
    "learning rate": lambda row: tables.rate(row["lr"]),
    "parameters": lambda row: tables.parameters(row["parameters"]),
    "n": lambda row: tables.value(row["n"]),
    "{fid}": lambda row: tables.spread(row["fid_mean"], row["fid_sd"], bold=row["best"]),
    "{kid} ×10³": lambda row: tables.spread(1000 * row["kid_mean"], 1000 * row["kid_sd"]),
    "change vs A": lambda row: tables.percent(row["fid_change_percent"]),
    "step time": lambda row: tables.times(row["relative_step_time"]),
    "status": lambda row: row["status"],
}

# Column of the summary: its name in the CSV, where the same word would mean something else.
CSV = {
    **{key: key for key in (
        "config", "adds", "model", "modulation", "lr", "data", "parameters", "training_steps", "n", "metric",
        "fid_mean", "fid_sd", "fid_change_percent", "kid_mean", "kid_sd", "relative_step_time", "status", "paper_fid",
        "fid_floor", "kid_floor", "floor_count", "fid_rank_deficient", *summary.PROTOCOL, "sampling_seeds",
    )},
    "steps": "sampling_steps",
    "step": "snapshot_step",
}  # fmt: skip


def modulation_name(modulation: str) -> str:
    return MODULATION_NAMES.get(modulation, modulation)


def table(rows, columns: Mapping[str, Callable], cost=None) -> tables.Table:
    """A line a row of the summary, under `columns` (head: what it shows of a row); beneath, the floor of real images.

    Columns are added for what tells rows apart (such as the EMA width) and for the paper's numbers where there are any.
    """
    from .metrics import metric_label

    columns = dict(columns)
    columns |= {_heading(key): lambda row, key=key: tables.value(row[key]) for key in summary.varying(rows)}
    if rows["paper_fid"].notna().any():
        columns["paper"] = lambda row: tables.spread(row["paper_fid"])
    features = sorted(rows["features"].dropna().unique())
    labels = {name: metric_label(name) for name in features}
    if len(features) == 1:  # the features stand once, over the first of the two columns
        names = {"fid": labels[features[0]], "kid": metric_label(features[0], "kid").split()[0]}
    else:
        names = {"fid": "FID or FD", "kid": "KID or KD"}
    lines = rows.to_dict("records")
    floors = {
        (line["features_hash"], line["reference_hash"], line["floor_count"]): line
        for line in lines
        if line["n"] and line["fid_floor"] == line["fid_floor"]  # precomputed statistics have none
    }
    blank = dict.fromkeys(rows.columns, NAN) | dict.fromkeys(("config", "model", "modulation", "status"), "")
    floors = [
        {
            **blank,
            **{key: floor[key] for key in ("features", "features_hash", "reference", "reference_hash")},
            "adds": f"real images ({floor['floor_count']:,.0f})",
            "best": False,
            "fid_mean": floor["fid_floor"],
            "kid_mean": floor["kid_floor"],
        }
        for floor in floors.values()
    ]
    return tables.Table(
        frame=rows.assign(metric=rows["features"].map(labels))[list(CSV)].rename(columns=CSV),
        header=[head.format(**names) for head in columns],
        rows=[[cell(line) for cell in columns.values()] for line in lines],
        footer=[[cell(line).replace(tables.NONE, "") for cell in columns.values()] for line in floors],
        notes=notes(rows, cost),
    )


def _heading(key: str) -> str:
    return CSV[key].replace("_", " ")


def notes(rows, cost) -> list[str]:
    """What a reader must know to take the numbers for what they are."""
    scored = rows[rows["n"] > 0]
    if scored.empty:
        return ["No run has been scored yet."]
    told = [f"Protocol: {', '.join(summary.constants(rows))}; lower is better."]
    if scored["n"].max() == 1:
        told.append("One seed (n = 1): how much seeds move these numbers is unknown, so they rank nothing.")
    else:
        told.append("Mean ± standard deviation over n seeds" + ("; bold: the lowest." if rows["best"].any() else "."))
    if scored["status"].str.contains("diverged").any():
        told.append("Seeds that diverged have no score and are in no mean.")
    if scored["sampling_seeds"].max() > 1:
        told.append("A seed's score is its mean over sampling seeds.")
    if scored["fid_rank_deficient"].astype(str).eq("True").any():
        told.append(
            "There are fewer samples than features: the Fréchet distance is biased high, the kernel distance not."
        )
    if scored["fid_floor"].notna().any():
        told.append("Real images: that many of them against the others, what a perfect model would score.")
    if scored["reference_count"].isna().any():
        told.append("Precomputed statistics hold no images: against them there is no kernel distance and no floor.")
    told.append("Change: of the mean against A's. " + _on_step_time(cost))
    if rows["paper_fid"].notna().any():
        told.append("Paper: FID in arXiv 2505.19122, in the same setting.")
    return told


def _on_step_time(cost) -> str:
    if cost is None or cost.empty:
        return "Step time: not measured."
    return f"Step time: of a training step against A's, measured side by side on {cost['device'].iloc[0]}."
