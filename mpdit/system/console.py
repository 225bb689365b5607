"""What commands print to a terminal: progress, aligned columns, durations, numbers with SI prefixes."""

import io
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from .interruption import snakemake_ancestors

Item = TypeVar("Item")

PROGRESS_INTERVAL = 10.0  # seconds between progress lines that do not replace one another
REDRAW_INTERVAL = 0.1  # seconds between progress lines that do


def prepare_output() -> None:
    """From now on print anything anywhere: characters that the terminal's encoding lacks become escapes (`\\xe9`).

    A standard output or error that was closed becomes one that goes nowhere.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (stays open)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish_output() -> None:
    """Flush standard output; where nobody reads it or it is full, let it go nowhere, or Python would fail at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class Progress:
    """A progress line on standard output: redrawn in place in a terminal, else (in a log) printed every ten seconds.

    Under Snakemake, whose jobs share a terminal, nothing is redrawn.
    """

    def __init__(self, name: str, total: int) -> None:
        """`name` begins each line; `total` is the number of images."""
        self.name, self.total = name, total
        self.redraw = sys.stdout.isatty() and not snakemake_ancestors()
        self.started = self._last_print = time.monotonic()
        self._line_length = 0  # of the line to be replaced

    def update(self, done: float) -> None:
        """Print that `done` images are finished, unless the last line is too recent."""
        now = time.monotonic()
        if now - self._last_print < (REDRAW_INTERVAL if self.redraw else PROGRESS_INTERVAL):
            return
        self._last_print = now
        rate = done / (now - self.started)
        left = duration((self.total - done) / rate) if rate else "unknown time"
        self._print(f"{int(done):,} of {self.total:,} images, {rate:,.4g} images/s, {left} left", redraw=self.redraw)

    def finish(self) -> None:
        """Print how long all images took."""
        seconds = time.monotonic() - self.started
        rate = self.total / max(seconds, 1e-9)
        self._print(f"{self.total:,} images in {duration(seconds)}, {rate:,.4g} images/s", redraw=False)

    def _print(self, text: str, redraw: bool) -> None:
        line = f"{self.name}: {text}"
        start = "\r" if self._line_length else ""
        print(start + line.ljust(self._line_length), end="" if redraw else "\n", flush=True)
        self._line_length = len(line) if redraw else 0


def with_progress(name: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Yield the same items, printing progress as they pass."""
    progress = Progress(name, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(done)
    progress.finish()


def duration(seconds: float) -> str:
    """A duration to the two largest units, such as "42 s", "3 min 05 s", "7 h 12 min" or "6 d 11 h"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600:02} h"


def aligned(rows: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    """Lines with the cells of `rows` in columns two spaces apart.

    The first `text_columns` columns are aligned left; the others, which hold numbers, are aligned right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


SI_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def with_si_prefix(value: float) -> str:
    """A number as three significant digits and an SI prefix, such as "5.25 G"; the unit is to be appended."""
    power = 0
    while value >= 999.5 and power < len(SI_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {SI_PREFIXES[power]}"
