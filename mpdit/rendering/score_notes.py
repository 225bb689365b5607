"""The notes below a table of scores: how its numbers were measured and tested, and what they cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..experiment.metric_names import metric_name
from .deciding_metric import TOO_FEW_SAMPLES, has_too_few_samples
from .protocol_words import shared_protocol

if TYPE_CHECKING:
    import pandas as pd

FEW_SEEDS = 5  # with fewer the table says how little they decide
SMALL_NUMBERS = {1: "Single", 2: "Two", 3: "Three", 4: "Four"}


def score_notes(rows: pd.DataFrame, bold: str) -> list[str]:
    """Sentences on how the scores were measured, and what they cannot say."""
    scored = rows[rows["n"] > 0]
    if scored.empty:
        return ["No run has been scored yet.", *_loss_notes(rows)]
    notes = [f"Protocol: {shared_protocol(scored)}. Lower is better."]
    if scored["n"].max() == 1:
        notes.append(
            "One seed (n = 1): the spread between seeds is unknown, so these numbers rank nothing and there are no "
            "changes."
        )
    else:
        has_bold = rows["best"].any() or ("best_loss" in rows and rows["best_loss"].any())
        notes.append("Mean ± standard deviation over n seeds" + (f"; bold: {bold}." if has_bold else "."))
    notes += [*_deciding_notes(scored), *_loss_notes(rows)]
    if any(statuses.number("diverged") for statuses in rows["statuses"]):
        notes.append(
            "Where a seed diverged there is neither mean nor change: those of the other seeds would flatter the "
            "configuration."
        )
    if scored["sampling_seeds"].max() > 1:
        notes.append("The score of a seed is its mean over sampling seeds.")
    if has_too_few_samples(scored):
        notes.append(f"There are {TOO_FEW_SAMPLES}: the Fréchet distance is biased upward, the kernel distance is not.")
    if scored["fid_floor"].notna().any():
        notes.append(
            "Real images: the score of that many real images against the others, which a perfect model would reach."
        )
    if scored["reference_count"].isna().any():
        notes.append(
            "Precomputed statistics contain no images: there is no kernel distance and no score of real images."
        )
    return notes


def _deciding_notes(scored: pd.DataFrame) -> list[str]:
    """Which metric decides."""
    found = scored.loc[scored["decides"] != "", ["features", "decides"]].drop_duplicates()
    names = [metric_name(features, column) for features, column in found.itertuples(index=False, name=None)]
    return [f"{names[0]} decides what is said about scores."] if len(names) == 1 else []


def _loss_notes(rows: pd.DataFrame) -> list[str]:
    """What the held-out loss is; nothing where there is none."""
    if rows["heldout_loss_mean"].isna().all():
        return []
    return [
        "Held-out loss: mean squared error of the predicted noise on images that no run was trained on or tuned with, "
        "at the EMA width of the row. It decides what is said about loss, and may disagree with the scores."
    ]


def change_notes(rows: pd.DataFrame) -> list[str]:
    """How changes were tested, and what so few seeds can show."""
    reaches = sorted((change.high - change.low) / 2 for change in rows["change"] if change.high == change.high)
    if not reaches:
        return []
    tests = sum(change.p == change.p for change in rows["change"])
    notes = [
        "Changes are means of log-ratios paired by seed, with Student's t"
        + (f"; tests of them are corrected for their number, {tests} (Holm)." if tests > 1 else ".")
    ]
    notes += [f"Not tested: {why}." for why in dict.fromkeys(change.withheld for change in rows["change"]) if why]
    seeds = int(rows.loc[rows["n"] > 0, "n"].min())
    if seeds < FEW_SEEDS:
        notes.append(
            f"{SMALL_NUMBERS[seeds]} seeds demonstrate the comparison but decide little: half of the intervals here "
            f"reach {reaches[len(reaches) // 2]:.0f} percentage points or more to either side."
        )
    return notes


def step_time_note(cost: pd.DataFrame | None) -> str:
    """The sentence that says what step times are and where they were measured."""
    if cost is None or cost.empty:
        return "Step time: not measured."
    device = cost["device"].iloc[0]
    return f"Step time: of a training step, relative to Config A's, measured side by side on {device}."
