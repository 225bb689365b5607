"""What training reports while it runs: lines for the terminal and train.log, and rows of training.csv."""

import csv
import io
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..experiment.columns import TRAINING
from ..experiment.remedies import remedy
from ..system.console import PROGRESS_INTERVAL, finish_output
from ..system.errors import UserError
from ..system.files import write_csv, write_seals
from ..system.seals import Seal, read_intact
from .loss_sums import LossMeans

Status = Literal["training", "trained", "diverged"]
COLUMNS = TRAINING.names[1:]  # all but `run`, which aggregation adds


class RunLog:
    """Writes lines, each with the run's name, to standard output and to the log file.

    A closed terminal, a broken pipe, or a full disk silences it, but never stops the training.
    """

    def __init__(self, run: str, path: Path, redraw: bool = False, silent: bool = False):
        self.run, self.path, self.silent = run, path, silent
        self.redraw = redraw and sys.stdout.isatty()  # progress lines replace one another
        self._last_progress = -PROGRESS_INTERVAL
        self._drawn = 0  # characters of the progress line that is on the terminal

    def report(self, text: str) -> None:
        """Write one line."""
        if self.silent:
            return
        line = f"{self.run}: {text}"
        self._print("\r" + line.ljust(self._drawn) + "\n" if self._drawn else line + "\n")
        self._drawn = 0
        with suppress(OSError), open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def progress(self, text: str) -> None:
        """Report a line of progress, unless the last one is less than PROGRESS_INTERVAL seconds old."""
        if time.monotonic() - self._last_progress >= PROGRESS_INTERVAL:
            self._last_progress = time.monotonic()
            self.report(text)
        elif self.redraw:
            line = f"{self.run}: {text}"
            self._print("\r" + line.ljust(self._drawn))
            self._drawn = len(line)

    def _print(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # nobody reads any more
            finish_output()


@dataclass(frozen=True)
class TrainingRow:
    """A row of training.csv: means since the row before it, and the state at its step."""

    step: int
    means: LossMeans
    lr: float
    weight_norm: float
    images_per_second: float
    seconds: float  # of training, over all processes
    memory_mb: float  # peak memory of this process, in 10^6 bytes
    status: Status = "training"

    def cells(self) -> dict[str, str]:
        """Return the row as text by column: numbers to 7 significant digits."""
        values = {**asdict(self), **asdict(self.means)}
        return {name: _cell(values[name]) for name in COLUMNS}


def _cell(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


class TrainingTable:
    """training.csv: appended row by row, each row flushed; rewritten when that fails or when training resumes.

    Its seal covers the rows that the last checkpoint includes, and at the end all of them.
    """

    def __init__(self, path: Path, logged: int, text: str | None = None):
        """Keep the rows up to step `logged`, the last one that the checkpoint includes: those of `text`, its content as
        the checkpoint has it, or, of a checkpoint that has none, those of an existing file."""
        self.path = path
        self._complete = False  # whether the file holds all rows
        if text is None and logged and path.exists():
            text = read_intact(path, remedy(path)).decode(errors="replace")
        self._rows = [row for row in _complete_rows(text or "") if int(row["step"]) <= logged]
        for row in self._rows:
            row["status"] = "training"  # even if it ended a shorter run
        self._rewrite()

    @property
    def last_loss(self) -> float:
        return float(self._rows[-1]["loss"])

    @property
    def peak_memory_mb(self) -> float:
        return max(float(row["memory_mb"]) for row in self._rows)

    def append(self, row: TrainingRow) -> None:
        """Add a row and pass it to the operating system."""
        self._rows.append(row.cells())
        try:
            if self._complete:
                with open(self.path, "a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(self._rows[-1])
            else:
                self._rewrite()
        except OSError:
            self._complete = False  # a full disk: all rows are written again with the next one

    def end(self, status: Status) -> None:
        """Replace the status of the last row; no more rows follow. UserError if the file has lost its rows."""
        if not self._rows:
            raise UserError(f"{self.path}: has lost its rows; {remedy(self.path)}")
        self._rows[-1]["status"] = status
        self._rewrite(grows=False)

    def text(self) -> str:
        """Return the content of the file, as it should be."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return text.getvalue()

    def sync(self) -> None:
        """Flush all rows to disk and seal them."""
        with suppress(OSError):
            with open(self.path, "rb+") as file:
                os.fsync(file.fileno())
            if self._complete:
                write_seals(self.path, [Seal.of_bytes(self.text().encode(), grows=True)])

    def _rewrite(self, grows: bool = True) -> None:
        self._complete = False
        with suppress(OSError):
            write_csv(self.path, COLUMNS, self._rows, grows=grows)
            self._complete = True


def _complete_rows(text: str) -> list[dict[str, str]]:
    """Return the complete rows under the known header; a last line that was cut short by a kill is not complete."""
    rows = list(csv.DictReader(io.StringIO(text)))
    return [row for row in rows if tuple(row) == COLUMNS and row["status"] and row["step"].isdigit()]
