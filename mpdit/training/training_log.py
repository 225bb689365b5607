"""What training says while it runs: lines for the terminal and train.log, rows for training.csv."""

import csv
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..system.console import PROGRESS_INTERVAL
from ..system.files import write_csv

COLUMNS = (
    "step", "loss", "simple", "variational", "loss_q1", "loss_q2", "loss_q3", "loss_q4",
    "grad_norm", "lr", "weight_norm", "images_per_second", "seconds", "memory_mb", "status",
)  # fmt: skip
DETERMINISTIC = COLUMNS[: COLUMNS.index("images_per_second")]  # on the CPU: the others measure the machine


class Reporter:
    """Says lines, each with the run's name, on standard output and in the log file.

    Training never stops for them: a closed terminal, a dead pipe or a full disk silences them.
    """

    def __init__(self, run: str, log: Path, redraw: bool = False, silent: bool = False):
        self.run, self.log, self.silent = run, log, silent
        self.redraw = redraw and sys.stdout.isatty()  # progress lines replace one another
        self._last_progress = -PROGRESS_INTERVAL
        self._drawn = 0

    def say(self, text: str) -> None:
        if self.silent:
            return
        line = f"{self.run}: {text}"
        self._print("\r" + line.ljust(self._drawn) + "\n" if self._drawn else line + "\n")
        self._drawn = 0
        with suppress(OSError), open(self.log, "a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def progress(self, text: str) -> None:
        """A line that is worth saying now and then."""
        if time.monotonic() - self._last_progress >= PROGRESS_INTERVAL:
            self._last_progress = time.monotonic()
            self.say(text)
        elif self.redraw:
            line = f"{self.run}: {text}"
            self._print("\r" + line.ljust(self._drawn))
            self._drawn = len(line)

    def _print(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # nobody reads any more; what is in the buffer must go somewhere, or Python fails at exit
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


class TrainingTable:
    """training.csv: appended row by row, each row flushed; rewritten whole where that fails or training resumes."""

    def __init__(self, path: Path, logged: int):
        """Keep of an existing file the rows up to step `logged`, the last one that the checkpoint knows of."""
        self.path = path
        self.rows = [row for row in _read(path) if row["step"] <= logged]
        for row in self.rows:
            row["status"] = "training"  # the one that ended a shorter run, too
        self._rewrite()

    def append(self, row: Mapping) -> None:
        """Add a row and hand it to the operating system."""
        self.rows.append({key: f"{value:.7g}" if isinstance(value, float) else value for key, value in row.items()})
        try:
            if self._whole:
                with open(self.path, "a", newline="") as file:
                    csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(self.rows[-1])
            else:
                self._rewrite()
        except OSError:
            self._whole = False  # a full disk: all rows are written again with the next one

    def end(self, status: str) -> None:
        """Put the run's status into the last row."""
        self.rows[-1]["status"] = status
        self._rewrite()

    def sync(self) -> None:
        """Bring all rows to the disk, so that a checkpoint never knows of a row that a power cut takes."""
        with suppress(OSError), open(self.path, "rb+") as file:
            os.fsync(file.fileno())

    def _rewrite(self) -> None:
        self._whole = False
        with suppress(OSError):
            write_csv(self.path, COLUMNS, self.rows)
            self._whole = True


def _read(path: Path) -> list[dict]:
    """Rows with a whole-number step under the known header; a last line cut short by a kill is no row."""
    if not path.exists():
        return []
    with open(path, newline="", errors="replace") as file:
        rows = list(csv.DictReader(file))
    return [
        {**row, "step": int(row["step"])}
        for row in rows
        if tuple(row) == COLUMNS and row["status"] and row["step"].isdigit()
    ]
