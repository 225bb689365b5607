"""What a terminal shows: lines of progress, aligned columns, durations, SI prefixes."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

EVERY = 10.0  # seconds between lines where they are not drawn over one another


class Progress:
    """A line of progress on standard output: redrawn in a terminal, else (a job's log) said every ten seconds.

    Under Snakemake, where jobs share a terminal, nothing is redrawn.
    """

    def __init__(self, name: str, total: int):
        from .interruption import snakemake_ancestors

        self.name, self.total = name, total
        self.redraw = sys.stdout.isatty() and not snakemake_ancestors()
        self.started = self._said = time.monotonic()
        self._drawn = 0

    def update(self, done: float) -> None:
        """Say, if it is time to, that `done` of all images are done."""
        now = time.monotonic()
        if now - self._said < (0.1 if self.redraw else EVERY):
            return
        self._said = now
        rate = done / (now - self.started)
        left = duration((self.total - done) / rate) if rate else "unknown time"
        self._print(f"{int(done):,} of {self.total:,} images, {rate:,.4g} images/s, {left} left", redraw=self.redraw)

    def finish(self) -> None:
        """Say that all are done."""
        seconds = time.monotonic() - self.started
        rate = self.total / max(seconds, 1e-9)
        self._print(f"{self.total:,} images in {duration(seconds)}, {rate:,.4g} images/s", redraw=False)

    def _print(self, text: str, redraw: bool) -> None:
        line = f"{self.name}: {text}"
        start = "\r" if self._drawn else ""
        print(start + line.ljust(self._drawn), end="" if redraw else "\n", flush=True)
        self._drawn = len(line) if redraw else 0


def with_progress(name: str, items: Iterable, total: int) -> Iterator:
    """The same items; progress is said as they go by."""
    progress = Progress(name, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress.update(done)
    progress.finish()


def duration(seconds: float) -> str:
    """Such as "42 s", "3 min 05 s", "7 h 12 min", "6 d 11 h"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600:02} h"


PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


def aligned(lines: Sequence[Sequence[str]], words: int) -> list[str]:
    """Columns two spaces apart: the first `words` flush left, the others, numbers, flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def with_prefix(value: float) -> str:
    """Three digits and an SI prefix, for a unit to follow: `5.25 G`."""
    power = 0
    while value >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {PREFIXES[power]}"
