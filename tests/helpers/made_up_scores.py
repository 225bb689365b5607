"""Aggregates of made-up studies for the paper's tables."""

import pandas as pd

from .made_up_runs import entry, frames


def one_seed() -> dict:
    """Configurations A to E with one seed: FIDs 80, 84, 60, 64, 50. Step times of A, D and E."""
    fids = {"A": 80.0, "B": 84.0, "C": 60.0, "D": 64.0, "E": 50.0}
    times = [("A", "cheap", 1.0), ("D", "textbook", 1.21), ("D", "cheap", 1.1), ("E", "cheap", 1.039)]
    cost = pd.DataFrame(
        [("DiT-Nano/2", config, "scale_shift", form, relative, "a processor") for config, form, relative in times],
        columns=["model", "config", "modulation", "form", "relative", "device"],
    )
    runs = [(entry(config), "trained", [{"fid": fid, "kid": fid / 500}]) for config, fid in fids.items()]
    return frames(*runs, cost=cost)


def runs_of_e(modulation: str, *fids: float, **axes: object) -> list[tuple]:
    """Trained runs of Config E for `frames`, one per FID, with seeds 0, 1, ..."""
    return [
        (entry("E", seed, modulation=modulation, **axes), "trained", [{"fid": fid}]) for seed, fid in enumerate(fids)
    ]


def modulations() -> dict:
    """E with two seeds; scale + rotate has 95,000 parameters where AdaLN has 100,000; rotate diverged."""
    diverged = (entry("E", 0, modulation="rotate"), "diverged", [])
    data = frames(
        *runs_of_e("scale", 77.0, 79.0),
        *runs_of_e("scale_shift", 64.0, 66.0),
        diverged,
        *runs_of_e("scale_rotate", 65.0, 68.9),
    )
    sizes = {"scale": 80_000.0, "scale_shift": 100_000.0, "scale_rotate": 95_000.0, "rotate": 90_000.0}
    data["runs"]["parameters"] = data["runs"]["modulation"].map(sizes)
    return data
