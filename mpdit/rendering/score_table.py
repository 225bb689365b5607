"""A table of scores: the rows of `results.summary` as a reader sees them, with the notes that make them honest."""

from collections.abc import Sequence

from ..results import summary
from ..results.summary import NAN, StatusCounts
from . import table_format as tables
from .protocol_words import shared_protocol

MODULATION_NAMES = {"scale_shift": "scale + shift", "scale_rotate": "scale + rotate", "rotate_full": "full rotation"}

# Head of a column: what it shows of a row of `summary.summarize`. {fid} and {kid} are named after the features.
COLUMNS = {
    "config": lambda row: row["config"],
    "what it adds": lambda row: row["adds"],
    "model": lambda row: row["model"],
    "modulation": lambda row: modulation_name(row["modulation"]),
    "learning rate": lambda row: tables.rate(row["lr"]),
    "parameters": lambda row: tables.parameters(row["parameters"]),
    "vs AdaLN": lambda row: tables.percent(row["parameters_change_percent"]),
    "n": lambda row: tables.value(row["n"]),
    "{fid}": lambda row: tables.spread(row["fid_mean"], row["fid_sd"], bold=row["best"]),
    "{kid} ×10³": lambda row: tables.spread(1000 * row["kid_mean"], 1000 * row["kid_sd"]),
    "change vs A": lambda row: tables.percent(row["fid_change_percent"]),
    "change vs AdaLN": lambda row: tables.percent(row["fid_change_percent"]),
    "step time": lambda row: tables.times(row["relative_step_time"]),
    "status": lambda row: row["status"],
}

# Column of the summary: its name in the CSV, where the same word would mean something else.
CSV = {
    **{key: key for key in (
        "config", "adds", "model", "modulation", "lr", "data", "parameters", "parameters_change_percent",
        "training_steps", "n", "metric", "fid_mean", "fid_sd", "fid_change_percent", "kid_mean", "kid_sd",
        "relative_step_time", "status", "best", "paper_fid", "paper_difference", "fid_floor", "kid_floor",
        "floor_count", "fid_rank_deficient", *summary.PROTOCOL, "sampling_seeds",
    )},
    "steps": "sampling_steps",
    "step": "snapshot_step",
}  # fmt: skip


def status_words(statuses: StatusCounts) -> str:
    """`trained`; `diverged at step 300`; of several seeds with different statuses, `4 trained, 1 diverged`."""
    if len(statuses.counts) > 1:
        return ", ".join(f"{count} {status}" for status, count in statuses.counts)
    ((status, _),) = statuses.counts
    return status if statuses.diverged_at is None else f"{status} at step {statuses.diverged_at:,}"


def modulation_name(modulation: str) -> str:
    return MODULATION_NAMES.get(modulation, modulation)


def table(
    rows, columns: Sequence[str], *, change: str = "", bold: str = "the lowest", cost: object = ...
) -> tables.Table:
    """A line a row of the summary, under `columns` of COLUMNS; beneath, the floor of real images.

    Columns are added for what tells rows apart (such as the EMA width) and for the paper's numbers where there are any.
    `change` and `bold` say in the notes what those are; `cost` is the frame (or None) that step times come from, where
    the table has them. Of CSV, the CSV has what the rows have.
    """
    from ..experiment.metric_names import metric_label

    rows = rows.assign(status=rows["statuses"].map(status_words))
    columns = {head: COLUMNS[head] for head in columns}
    columns |= {_heading(key): lambda row, key=key: _protocol_cell(row, key) for key in summary.varying(rows)}
    if rows["paper_fid"].notna().any():
        columns["paper"] = lambda row: tables.spread(row["paper_fid"])
        columns["difference"] = lambda row: tables.signed(row["paper_difference"])
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
    told = "adds" if "what it adds" in columns else next(iter(columns))  # the column that names the floor
    blank = dict.fromkeys(rows.columns, NAN) | dict.fromkeys(("config", "adds", "model", "modulation", "status"), "")
    floors = [
        {
            **blank,
            **{key: floor[key] for key in ("features", "features_hash", "reference", "reference_hash")},
            told: f"real images ({floor['floor_count']:,.0f})",
            "best": False,
            "fid_mean": floor["fid_floor"],
            "kid_mean": floor["kid_floor"],
        }
        for floor in floors.values()
    ]
    frame = rows.assign(metric=rows["features"].map(labels))
    return tables.Table(
        frame=frame[[key for key in CSV if key in frame]].rename(columns=CSV),
        header=[head.format(**names) for head in columns],
        rows=[[cell(line) for cell in columns.values()] for line in lines],
        footer=[[cell(line).replace(tables.NONE, "") for cell in columns.values()] for line in floors],
        notes=notes(rows, change, bold, cost),
    )


def _protocol_cell(row, key: str) -> str:
    is_plain = key == "ema_width" and row["n"] > 0 and row[key] != row[key]
    return "none" if is_plain else tables.value(row[key])


def _heading(key: str) -> str:
    return CSV[key].replace("_", " ")


def notes(rows, change: str, bold: str, cost: object) -> list[str]:
    """What a reader must know to take the numbers for what they are."""
    scored = rows[rows["n"] > 0]
    if scored.empty:
        return ["No run has been scored yet."]
    told = [f"Protocol: {shared_protocol(scored)}; lower is better."]
    if scored["n"].max() == 1:
        told.append("One seed (n = 1): how much seeds move these numbers is unknown, so they rank nothing.")
    else:
        told.append("Mean ± standard deviation over n seeds" + (f"; bold: {bold}." if rows["best"].any() else "."))
    if any(statuses.number("diverged") for statuses in scored["statuses"]):
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
    if change:
        told.append(change)
    if cost is not ...:
        told.append(_on_step_time(cost))
    if rows["paper_fid"].notna().any():
        told.append("Paper: FID in arXiv 2505.19122, in the same setting; difference: ours minus the paper's.")
    return told


def _on_step_time(cost) -> str:
    if cost is None or cost.empty:
        return "Step time: not measured."
    return f"Step time: of a training step against A's, measured side by side on {cost['device'].iloc[0]}."


COST_COLUMNS = {
    "config": lambda row: row["config"],
    "model": lambda row: row["model"],
    "modulation": lambda row: modulation_name(row["modulation"]),
    "form": lambda row: row["form"],
    "parameters": lambda row: tables.parameters(row["parameters"]),
    "GFLOPs": lambda row: tables.significant(row["flops"] / 1e9),
    "ms a step": lambda row: tables.significant(1000 * row["step_seconds"]),
    "step time": lambda row: tables.times(row["relative"]),
    "interval (95 %)": lambda row: f"{row['relative_low']:.2f} to {row['relative_high']:.2f}",
}


def cost_table(cost) -> tables.Table:
    """Table of cost.csv, or of nothing where it was not measured (None)."""
    import pandas as pd

    from ..experiment.columns import COST

    rows = pd.DataFrame(columns=COST.names) if cost is None else cost
    rows = summary.in_order(rows.assign(lr=0.0)).drop(columns="lr")
    if rows.empty:
        told = ["Not measured yet."]
    else:
        told = [
            "FLOPs: matrix products of a forward pass of one image. Step time: of a training step against that of A "
            "with scale + shift on the same model, median over rounds of the ratio within a round, with the interval "
            "of that median (sign test).",
            "Textbook: weights are normalized under autograd and put back at each step (EDM2); cheap: as trained here.",
            *(
                f"On {device}, {threads:.0f} thread{'s' * (threads > 1)}, {rounds:.0f} rounds."
                for device, threads, rounds in rows[["device", "threads", "rounds"]].drop_duplicates().to_numpy()
            ),
        ]
    lines = [[cell(line) for cell in COST_COLUMNS.values()] for line in rows.to_dict("records")]
    return tables.Table(frame=rows, header=list(COST_COLUMNS), rows=lines, notes=told)
