"""The paper's claims judged on made-up studies."""

import pandas as pd

from mpdit import paper  # noqa: F401  # registers the claims
from mpdit.rendering.claims.verdicts import verdict_frame, verdicts
from mpdit.rendering.registry import CLAIMS, VERDICTS
from mpdit.rendering.table_format import Table

from .made_up_studies import study


def claims(data: dict) -> Table:
    """The table of verdicts on all claims."""
    return VERDICTS.make(data)


def verdict_rows(data: dict, *names: str) -> pd.DataFrame:
    """claims.csv for the claims of these names, or for all."""
    return verdict_frame(verdicts([CLAIMS[name] for name in names or CLAIMS], data))


def judged_among_all(name: str, *runs: tuple, **more: object) -> dict:
    """The row of one claim on a study; the others are judged as well, so that its p-value is corrected for them."""
    rows = verdict_rows(study(*runs, **more))
    (row,) = rows[rows["claim"] == name].to_dict("records")
    return row


def judged_alone(name: str, *runs: tuple, **more: object) -> dict:
    """The row of one claim that is judged alone, without any correction."""
    (row,) = verdict_rows(study(*runs, **more), name).to_dict("records")
    return row
