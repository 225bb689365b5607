"""Sampling and scoring protocols in words."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..results.summary import PROTOCOL

if TYPE_CHECKING:
    import pandas as pd

# Column of PROTOCOL: the phrase for a value of it. The two hashes have none: another column names what they are of.
PHRASES = {
    "sampler": "{} sampler",
    "steps": "{:,.0f} sampling steps",
    "guidance": "guidance {:g}",
    "count": "{:,.0f} samples",
    "ema_width": "EMA width {}",
    "step": "snapshot of step {:,.0f}",
    "features": "{} features",
    "reference": "reference {}",
    "reference_count": "{:,.0f} real images",
}


def phrase(column: str, value: object) -> str:
    """The value of a column of PROTOCOL in words; empty for a hash and where there is no value."""
    if column == "ema_width" and value != value:
        return "plain weights"
    if value != value or column not in PHRASES:
        return ""
    return PHRASES[column].format(value)


def shared_protocol(rows: pd.DataFrame, leave_out: Collection[str] = ()) -> str:
    """What all scored rows have in common, in words and in PROTOCOL's order, but for the columns left out."""
    phrases = []
    for column in PROTOCOL:
        values = rows[column].unique() if column == "ema_width" else rows[column].dropna().unique()
        if column not in leave_out and len(values) == 1:
            phrases.append(phrase(column, values[0]))
    return ", ".join(filter(None, phrases))
