"""The paper's FIDs, and the protocol under which they were measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..results.summary import NAN

if TYPE_CHECKING:
    import pandas as pd

# (model, config, modulation): FID-10K on ImageNet 128x128 after 400K steps (paper, Tables 1 and 2). None is derived.
PAPER_FID = {
    ("DiT-XS/2", "C", "scale_shift"): 86.49,
    ("DiT-XS/2", "D", "scale_shift"): 89.38,
    ("DiT-S/2", "E", "scale_shift"): 69.28,
    ("DiT-S/2", "E", "scale_rotate"): 70.86,
    ("DiT-S/2", "E", "scale"): 72.03,
}
# How the paper sampled and scored, by column of summary.PROTOCOL. What it trained is in `setting`.
PAPER_PROTOCOL = {
    "sampler": "ddpm",
    "steps": 250,
    "guidance": 1.0,
    "count": 10_000,
    "ema_width": 0.05,
    "step": 400_000,
    "features": "inception",
    "reference": "imagenet128",  # the training pictures, all of them. Which ones the paper took, it does not say
    "reference_count": 1_281_167,
}
PAPER_NOTE = "Paper: FID in arXiv 2505.19122 in the same setting; difference: ours minus the paper's."


def with_paper_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `summary.summarize` with the columns `paper_fid` and `paper_difference` (NaN where there is none)."""
    published = [paper_fid(row) for row in rows.to_dict("records")]
    return rows.assign(paper_fid=published, paper_difference=rows["fid_mean"] - published)


def paper_fid(row: Mapping[Any, Any]) -> float:
    """The paper's FID for a row whose data, training and protocol are all the paper's; NaN for any other."""
    same = row["paper_setting"] and all(row[key] == value for key, value in PAPER_PROTOCOL.items())
    return PAPER_FID.get((row["model"], row["config"], row["modulation"]), NAN) if same else NAN
