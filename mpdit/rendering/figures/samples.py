"""Grids of samples."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ...experiment.remedies import remedy
from ...experiment.run_files import SAMPLE_ARRAYS, SAMPLES
from ...results.shown_study import shown_study
from ...system.errors import UserError
from ...system.seals import require_intact
from .. import style
from ..lines import Split, panels_by_rate
from ..tuning_notes import tuning_note

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

ROWS, CLASSES = 5, 10  # of each grid
MOST_ACROSS = 3  # grids
SMALLEST_SIDE = 64  # pixels; smaller images are enlarged to at least this
MARGIN = 4  # pixels between images


def sample_grids(runs: pd.DataFrame, fid: pd.DataFrame, folder: Path, split: Split = panels_by_rate) -> Figure:
    """Samples of each line of the panels, one class per column. `folder` holds the run folders.

    The samples shown are those of the first protocol of fid.csv and of the first seed that has them.
    """
    scored = fid[fid["protocol"] == fid["protocol"].iloc[0]] if len(fid) else fid  # one protocol, so the same noise
    panels = split(runs)
    across = min(MOST_ACROSS, max(len(panel.lines) for panel in panels))
    rows_of_panel = [-(-len(panel.lines) // across) for panel in panels]
    figure, grid = style.panels(sum(rows_of_panel), across, height=4 / across)
    for axes in grid.flat:
        axes.set_axis_off()
        axes.set_anchor("N")
    first = 0
    for panel, count in zip(panels, rows_of_panel, strict=True):
        title = f"\n{panel.title}" if len(panels) > 1 else ""
        for axes, line in zip(grid[first : first + count].flat, panel.lines, strict=False):
            members = line.runs.sort_values("seed")
            run = next((run for run in members["run"] if run in set(scored["run"])), None)
            adds = shown_study().ladder.adds.get(line.config, "")  # a modulation adds nothing
            axes.set_title(": ".join(filter(None, (line.label, adds))) + title)
            if run is None:
                axes.set_box_aspect(ROWS / CLASSES)
                style.placeholder(axes, f"no samples: {members['status'].iloc[0]}")
            else:
                path = folder / run / SAMPLES / scored["protocol"].iloc[0] / SAMPLE_ARRAYS
                axes.imshow(mosaic(path, ROWS, CLASSES))
        first += count
    how = "One class per column. Images at the same position start from the same noise."
    style.footnote(figure, how, tuning_note(runs.to_dict("records")))
    return figure


def mosaic(path: str | Path, rows: int, classes: int) -> np.ndarray:
    """The first `rows` samples of each of the first `classes` classes of a samples.npz, one class per column.

    Returns one image, uint8 (H, W, 3), with small samples enlarged and missing ones left white. Reads no further into
    the file than it must, so that memory does not grow with the number of samples. Raises UserError when the file is
    missing or is not a samples.npz.
    """
    import numpy as np

    require_intact(path, remedy(path))
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("labels.npy") as file:
                labels = np.lib.format.read_array(file)
            positions: dict[int, tuple[int, int]] = {}  # index of a sample: its row and column
            for column, label in enumerate(np.unique(labels)[:classes]):
                positions |= {int(i): (row, column) for row, i in enumerate(np.flatnonzero(labels == label)[:rows])}
            with archive.open("arr_0.npy") as file:
                images = dict(zip(sorted(positions), _read_images(file, sorted(positions)), strict=True))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: {error}: expected a samples.npz written by `mpdit sample`") from None
    side = len(next(iter(images.values())))
    scale = -(-SMALLEST_SIDE // side)
    cell = side * scale + MARGIN
    columns = len({column for _, column in positions.values()})
    canvas = np.full((rows * cell - MARGIN, columns * cell - MARGIN, 3), 255, np.uint8)
    for i, (row, column) in positions.items():
        enlarged = images[i].repeat(scale, axis=0).repeat(scale, axis=1)
        canvas[row * cell :, column * cell :][: side * scale, : side * scale] = enlarged
    return canvas


def _read_images(file: IO[bytes], indices: Sequence[int]) -> Iterator[np.ndarray]:
    """The images (H, W, 3) at ascending indices of a .npy stream (N, H, W, 3) uint8."""
    import numpy as np

    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    size, next_index = math.prod(shape[1:]), 0
    for index in indices:
        file.seek((index - next_index) * size, os.SEEK_CUR)
        yield np.frombuffer(file.read(size), np.uint8).reshape(shape[1:])
        next_index = index + 1
