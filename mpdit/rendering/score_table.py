"""A table of scores: the rows of `results.summary` as a reader sees them, with the notes needed to read them right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..experiment.metric_names import metric_label, metric_name
from ..results import summary
from ..results.summary import NAN, StatusCounts
from . import number_format as fmt
from .changes import NO_CHANGE, Change
from .names import modulation_name
from .score_notes import change_notes, score_notes, step_time_note
from .table_format import Table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScoreRow:
    """What a row of the table may show: a row of `summary.summarize`, and what a study has assigned to it."""

    config: str = ""
    adds: str = ""  # what the configuration adds to the one before
    model: str = ""
    modulation: str = ""
    lr: float = NAN
    parameters: float = NAN
    parameters_change_percent: float = NAN
    n: float = NAN  # seeds with a score
    fid_mean: float = NAN
    fid_sd: float = NAN
    kid_mean: float = NAN
    kid_sd: float = NAN
    heldout_loss_mean: float = NAN
    heldout_loss_sd: float = NAN
    decides: str = ""  # the metric that decides: fid or kid
    change: Change = NO_CHANGE  # of that metric, from the baseline
    loss_change: Change = NO_CHANGE  # of the held-out loss
    relative_step_time: float = NAN
    status: str = ""
    best: bool = False  # in the metric that decides
    best_loss: bool = False
    paper_fid: float = NAN
    paper_difference: float = NAN
    protocol: Mapping[str, Any] = field(default_factory=dict)  # data and the columns of summary.PROTOCOL


@dataclass(frozen=True)
class Column:
    heading: str  # {fid}, {kid} and {decides} stand for names of metrics, {base} for that of the baseline
    cell: Callable[[ScoreRow], str]
    numeric: bool = True


def _is_bold(row: ScoreRow, metric: str) -> bool:
    return row.best and row.decides == metric


COLUMNS = {
    "config": Column("config", lambda row: row.config, numeric=False),
    "adds": Column("what it adds", lambda row: row.adds, numeric=False),
    "model": Column("model", lambda row: row.model, numeric=False),
    "modulation": Column("modulation", lambda row: modulation_name(row.modulation), numeric=False),
    "lr": Column("learning rate", lambda row: fmt.rate(row.lr)),
    "parameters": Column("parameters", lambda row: fmt.parameters(row.parameters)),
    "parameters_vs_adaln": Column("vs. AdaLN", lambda row: fmt.percent(row.parameters_change_percent)),
    "n": Column("n", lambda row: fmt.value(row.n)),
    "fid": Column("{fid}", lambda row: fmt.spread(row.fid_mean, row.fid_sd, bold=_is_bold(row, "fid"))),
    "kid": Column(
        "{kid} ×10³", lambda row: fmt.spread(1000 * row.kid_mean, 1000 * row.kid_sd, bold=_is_bold(row, "kid"))
    ),
    "vs_base": Column("{decides} vs. {base} (95 % interval)", lambda row: fmt.percent_range(*row.change.range)),
    "p": Column("{decides} p", lambda row: fmt.p_value(row.change.p_holm)),
    "heldout_loss": Column(
        "held-out loss",
        lambda row: fmt.spread(row.heldout_loss_mean, row.heldout_loss_sd, bold=row.best_loss, digits=4),
    ),
    "loss_vs_base": Column("loss vs. {base} (95 % interval)", lambda row: fmt.percent_range(*row.loss_change.range)),
    "loss_p": Column("loss p", lambda row: fmt.p_value(row.loss_change.p_holm)),
    "step_time": Column("step time", lambda row: fmt.times(row.relative_step_time)),
    "status": Column("status", lambda row: row.status, numeric=False),
}
HELDOUT_COLUMNS = ("heldout_loss", "loss_vs_base", "loss_p")  # shown where there are held-out losses
PAPER_COLUMNS = {
    "paper_fid": Column("paper", lambda row: fmt.spread(row.paper_fid)),
    "paper_difference": Column("difference", lambda row: fmt.signed(row.paper_difference)),
}

CSV_COLUMNS = (
    "config", "adds", "model", "modulation", "lr", "data", "parameters", "parameters_change_percent",
    "training_steps", "n", "metric", "fid_mean", "fid_sd", "kid_mean", "kid_sd", "decides", "change_percent",
    "change_low", "change_high", "change_p_holm", "heldout_loss_mean", "heldout_loss_sd", "heldout_change_percent",
    "heldout_change_low", "heldout_change_high", "heldout_change_p_holm", "relative_step_time", "status", "best",
    "best_loss", "paper_fid", "paper_difference", "fid_floor", "kid_floor",
    "floor_count", "fid_rank_deficient", *summary.PROTOCOL, "sampling_seeds",
)  # fmt: skip
CSV_NAMES = {"steps": "sampling_steps", "step": "snapshot_step"}  # columns whose name means something else in a table
HEADINGS = {
    "steps": "sampling steps", "step": "snapshot step", "ema_width": "EMA width", "count": "samples",
    "features_hash": "features hash", "reference_count": "reference images", "reference_hash": "reference hash",
}  # fmt: skip  # of columns that are shown where rows differ in them; others are headed by their name


def status_words(statuses: StatusCounts) -> str:
    """`trained`; `diverged at step 300`; where seeds differ, `4 trained, 1 diverged`."""
    if len(statuses.counts) > 1:
        return ", ".join(f"{count} {status}" for status, count in statuses.counts)
    ((status, _),) = statuses.counts
    return status if statuses.diverged_at is None else f"{status} at step {statuses.diverged_at:,}"


def score_table(
    rows: pd.DataFrame,
    columns: Sequence[str],
    *,
    base: str = "",
    change_note: str = "",
    bold: str,
    above: str = "",
    paper_note: str = "",
    cost: pd.DataFrame | None = None,
) -> Table:
    """A table with one line per row of `rows`, and the scores of real images below it.

    Columns are added for whatever tells the rows apart, such as the EMA width, and for published numbers where there
    are any. The CSV holds all of CSV_COLUMNS that `rows` has.

    Args:
        rows: the frame of `summary.summarize` with more fields of ScoreRow assigned; must have `adds` and `best`.
        columns: keys of COLUMNS.
        base: the baseline, for headings of changes.
        change_note: the sentence that says what changes are relative to.
        bold: what is bold, in words.
        above: what a reader must know before the numbers, such as that rates were not tuned alike; may be empty.
        paper_note: the sentence that says what the published numbers (`paper_fid`) are.
        cost: the frame that `relative_step_time` comes from; None if it was not measured.
    """
    rows = rows.assign(status=rows["statuses"].map(status_words))
    varying = summary.varying(rows)
    has_paper = "paper_fid" in rows and bool(rows["paper_fid"].notna().any())
    has_losses = bool(rows["heldout_loss_mean"].notna().any())
    columns = [key for key in columns if has_losses or key not in HELDOUT_COLUMNS]
    shown = {key: COLUMNS[key] for key in columns} | {key: _protocol_column(key, rows) for key in varying}
    if has_paper:
        shown |= PAPER_COLUMNS
    lines = [_score_row(record) for record in rows.to_dict("records")]
    labels = {name: metric_label(name) for name in sorted(rows["features"].dropna().unique())}
    metrics = _metric_headings(list(labels), rows["decides"])
    headings = {key: column.heading.format(**metrics, base=base) for key, column in shown.items()}
    frame = rows.assign(metric=rows["features"].map(labels))
    return Table(
        frame=frame[[key for key in CSV_COLUMNS if key in frame]].rename(columns=CSV_NAMES),
        header=list(headings.values()),
        rows=[[column.cell(line) for column in shown.values()] for line in lines],
        footer=_real_images(rows, shown),
        above=[above] if above and (has_losses or (rows["n"] > 0).any()) else [],
        notes=[
            *score_notes(rows, bold),
            *(change_notes(rows) if change_note else []),
            *([change_note] if change_note and (rows["n"] > 0).any() else []),
            *([step_time_note(cost)] if "step_time" in columns and (rows["n"] > 0).any() else []),
            *([paper_note] if has_paper else []),
        ],
        numeric=[headings[key] for key, column in shown.items() if column.numeric],
    )


def _protocol_column(key: str, rows: pd.DataFrame) -> Column:
    """A column for a key of `summary.varying`."""
    from pandas.api.types import is_numeric_dtype

    def cell(row: ScoreRow) -> str:
        value = row.protocol.get(key, NAN)
        has_plain_weights = key == "ema_width" and row.n > 0 and value != value
        return "none" if has_plain_weights else fmt.value(value)

    return Column(HEADINGS.get(key, key), cell, numeric=is_numeric_dtype(rows[key]))


def _score_row(record: Mapping[Any, Any]) -> ScoreRow:
    fields = {key: value for key, value in record.items() if key in ScoreRow.__dataclass_fields__}
    return ScoreRow(**fields, protocol={key: record[key] for key in ("data", *summary.PROTOCOL)})


def _metric_headings(features: Sequence[str], deciding: pd.Series) -> dict[str, str]:
    """Headings of the metrics. A single kind of features is named once, over the first of the two columns."""
    metrics = sorted(set(deciding) - {""})
    if len(features) == 1:
        decides = metric_name(features[0], "kid" if metrics == ["kid"] else "fid") if len(metrics) == 1 else "change"
        return {"fid": metric_label(features[0]), "kid": metric_name(features[0], "kid"), "decides": decides}
    return {"fid": "FID or FD", "kid": "KID or KD", "decides": "change"}


def _real_images(rows: pd.DataFrame, columns: Mapping[str, Column]) -> list[list[str]]:
    """Footer lines: scores of real images against real images, one line per features, reference and count."""
    # Precomputed statistics have no such score.
    scored = rows[(rows["n"] > 0) & rows["fid_floor"].notna()]
    label_key = "adds" if "adds" in columns else next(iter(columns))
    footer = []
    for floor in scored.drop_duplicates(["features_hash", "reference_hash", "floor_count"]).to_dict("records"):
        line = ScoreRow(
            fid_mean=floor["fid_floor"],
            kid_mean=floor["kid_floor"],
            protocol={key: floor[key] for key in ("features", "features_hash", "reference", "reference_hash")},
        )
        cells = {key: column.cell(line).replace(fmt.NONE, "") for key, column in columns.items()}
        footer.append(list((cells | {label_key: f"real images ({floor['floor_count']:,.0f})"}).values()))
    return footer
