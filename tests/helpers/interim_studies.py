"""A study whose runs are not all finished, with tables and figures of its own, rendered by `mpdit interim`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.rendering import style
from mpdit.rendering.registry import ARTIFACTS, figure, table
from mpdit.rendering.table_format import Table

from .made_up_runs import write_run, write_training

CONFIG = {
    "data": {"name": "mnist8", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 128, "snapshots": 4},
    "sampling": {"steps": 50, "count": 1000},
    "scoring": {"features": "efficientnet-lite0"},
    "learning_rates": {"A": 1e-3, "E": 2e-2},
    "experiments": {
        "table1": {"model": "DiT-Nano/2", "config": ["A", "E"], "modulation": "scale_shift", "seed": [0, 1]},
    },
}


def write_unfinished_study(folder: Path) -> None:
    """Write four runs: A's two are trained, E's seed 0 is half-way (and was scored with fewer steps), E's seed 1 has
    not started."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    for entry in Experiment(CONFIG).plan("table1")["runs"]:
        if entry["config"] == "A":
            write_run(folder / "runs", entry)
        elif entry["seed"] == 0:
            run = write_run(folder / "runs", entry)
            (run / "trained.json").unlink()
            write_training(run, [(50, 0.75)])


@contextmanager
def own_artifacts() -> Iterator[None]:
    """Within this context, five artifacts are registered instead of the paper's; `angle_map` has a defect."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(ARTIFACTS):
            patch.delitem(ARTIFACTS, name)
        table("table1", title="Table 1", experiments=("table1",), reads=("runs",), caption="The ladder.")(make_table)
        figure("loss", experiments=("table1",), reads=("runs", "training"), caption="Loss of A & <E>.")(draw_loss)
        figure("angle_map", experiments=(), reads=("angles",), caption="All angles.")(draw_angles)
        table("claims", section="Claims", experiments=(), reads=("runs",), caption="The claims.")(make_table)
        table("table2", experiments=("table2",), reads=("runs",), caption="From a block that is missing.")(make_table)
        try:
            yield
        finally:
            ARTIFACTS.clear()


def make_table(data):
    runs = data["runs"]
    rows = [[row["config"], "a|b <script>alert(1)</script>", f"{row['step']:g}"] for _, row in runs.iterrows()]
    return Table(runs, ["config", "pipe & tag", "step"], rows, notes=["[A link](http://example.com), not set."])


def draw_loss(data):
    canvas, grid = style.panels(1, 1, height=2)
    grid[0][0].plot(data["training"]["step"], data["training"]["loss"])
    return canvas


def draw_angles(data):
    raise KeyError("rotate")


def interim(study: Path) -> int:
    """The exit status of `mpdit interim` on a study; its output is in interim/."""
    words = ["interim", study / "config.yaml", "--runs", study / "runs", "--output", study / "interim"]
    return main([str(word) for word in words])
