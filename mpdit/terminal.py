"""Tables and numbers for the eye, in a terminal."""

from collections.abc import Sequence

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
