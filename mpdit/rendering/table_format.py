"""One table as CSV, as Markdown and as LaTeX (booktabs).

Cells are plain text; `**bold**` and the signs ± − × · — ³ are converted to LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..system.files import replacing, write_text
from .number_format import NONE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A table: `frame` is what the CSV holds, in full precision; the rest is what a reader sees."""

    frame: pd.DataFrame
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: Sequence[Sequence[str]] = ()  # rows below a rule, such as the scores of real images
    notes: Sequence[str] = ()  # sentences
    above: Sequence[str] = ()  # sentences that a reader must see before the numbers
    numeric: Collection[str] = ()  # headings of the columns of numbers, which are set flush right
    # Relative widths of the columns on paper, for tables of sentences. Such a table wraps its cells and spans pages.
    wrap: Sequence[float] = ()


def save(table: Table, output: str | Path, caption: str) -> None:
    """Write the table as .csv, .md and .tex under the name of `output`."""
    output = Path(output)
    write_text(output.with_suffix(".md"), markdown(table, caption))
    write_text(output.with_suffix(".tex"), latex(table, caption, label=f"tab:{output.stem}"))
    with replacing(output.with_suffix(".csv")) as part:
        table.frame.to_csv(part, index=False, lineterminator="\n")


def markdown(table: Table, caption: str) -> str:
    """GitHub's Markdown: the caption, what stands above the table, the table padded to equal widths, and the notes."""
    lines = [[cell.replace("|", r"\|") for cell in row] for row in (table.header, *table.rows, *table.footer)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    flush_right = _numeric(table)
    rule = [
        ("-" * (width - 1) + ":" if right else "-" * width) for width, right in zip(widths, flush_right, strict=True)
    ]
    padded = [[_pad(*cell) for cell in zip(line, widths, flush_right, strict=True)] for line in lines]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])
    warnings = "".join(f"{sentence}\n\n" for sentence in table.above)
    return f"**{caption}**\n\n{warnings}{text}\n\n{' '.join(table.notes)}\n"


# ---------------------------------------------------------------------------------------------------------------------
# LaTeX

ROWS_PER_PAGE = 40  # of a table whose cells are not wrapped


def latex(table: Table, caption: str, label: str) -> str:
    """A `table` environment with booktabs rules and the notes below, shrunk to the line where it is wider.

    A column of words that has the same value in all rows moves to the notes, since a page is narrower than a screen. A
    table with more rows than fit on a page becomes several; a table whose cells wrap becomes a `longtable` on landscape
    pages.
    """
    caption = " ".join([caption, *table.above])
    if table.wrap:
        return _long_latex(table, caption, label)
    numeric = _numeric(table)
    shared = _shared_words(table, numeric)
    kept = [i for i, heading in enumerate(table.header) if heading not in shared]
    in_all_rows = ", ".join(f"{heading} {cell}" for heading, cell in shared.items() if cell != NONE)
    notes = " ".join([*([f"In all rows: {in_all_rows}."] if in_all_rows else []), *table.notes])
    headings = [_stacked(table.header[i]) if numeric[i] else escape(table.header[i]) for i in kept]
    body, footer = ([_latex_row([escape(row[i]) for i in kept]) for row in rows] for rows in (table.rows, table.footer))
    alignment = "".join("r" if numeric[i] else "l" for i in kept)
    pages = [body[i : i + ROWS_PER_PAGE] for i in range(0, len(body), ROWS_PER_PAGE)] or [[]]
    parts = [r"% needs \usepackage{booktabs, graphicx}"]
    for number, page in enumerate(pages):
        last = number == len(pages) - 1
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)}}}\label{{{label}}}" if number == 0 else rf"Table~\ref{{{label}}}, continued",
            r"\medskip",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _latex_row(headings),
            r"\midrule",
            *page,
            *([r"\midrule", *footer] if footer and last else []),
            r"\bottomrule",
            r"\end{tabular}}",
            *([r"\par\medskip", _minipage(notes)] if last else []),
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def _shared_words(table: Table, numeric: Sequence[bool]) -> dict[str, str]:
    """Heading and value of the columns of words that have one value in all rows, and none in the footer."""
    if len(table.rows) < 2:
        return {}
    shared = {}
    columns = zip(*table.rows, *table.footer, strict=True)
    for heading, is_numeric, column in zip(table.header, numeric, columns, strict=True):
        values, below = set(column[: len(table.rows)]), column[len(table.rows) :]
        if len(values) == 1 and not is_numeric and not any(below):
            shared[heading] = column[0]
    return shared


def _long_latex(table: Table, caption: str, label: str) -> str:
    """A `longtable` in small print on landscape pages. Its columns have the widths of `wrap`; rows span pages."""
    # Each column gives up its share of the space between columns, a multiple of \tabcolsep.
    spaces = 2 * (len(table.header) - 1) / len(table.header)
    widths = [rf"\dimexpr {width / sum(table.wrap):.4f}\linewidth-{spaces:.4f}\tabcolsep" for width in table.wrap]
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{width}}}" for width in widths)
    header = _latex_row([escape(heading) for heading in table.header])
    return "\n".join([
        r"% needs \usepackage{array, booktabs, longtable, lscape}",
        r"\begin{landscape}\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"\caption{{{escape(caption)}}}\label{{{label}}}\\",
        r"\toprule",
        header,
        r"\midrule\endfirsthead",
        r"\toprule",
        header,
        r"\midrule\endhead",
        r"\bottomrule\endfoot",
        *(_latex_row([escape(cell) for cell in row]) + r"\addlinespace" for row in (*table.rows, *table.footer)),
        r"\end{longtable}",
        _minipage(" ".join(table.notes)),
        r"\end{landscape}",
        "",
    ])  # fmt: skip


def _minipage(notes: str) -> str:
    return rf"\noindent\begin{{minipage}}{{\linewidth}}\footnotesize {escape(notes)}\end{{minipage}}"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _stacked(heading: str) -> str:
    """The heading of a narrow column, on two lines where it is long."""
    first, space, rest = heading.partition(" (" if " (" in heading else " ")
    if len(heading) < 11 or not space:
        return escape(heading)
    return rf"\shortstack[r]{{{escape(first)}\\{escape(space.strip() + rest)}}}"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$",
    "—": "---", "³": "$^{3}$", "∞": r"$\infty$", "é": r"\'e",
}  # fmt: skip


def escape(text: str) -> str:
    """LaTeX for a plain text: special characters escaped, 1e-4 as a power of ten, **bold** as bold."""
    text = "".join(_LATEX.get(sign, sign) for sign in text)
    text = re.sub(r"\b(\d+(?:\.\d+)?)e(-?\d+)\b", r"$\1 \\times 10^{\2}$", text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)


# ---------------------------------------------------------------------------------------------------------------------
# Alignment


def _numeric(table: Table) -> list[bool]:
    """Which columns are set flush right: those of numbers, unless they hold nothing but dashes."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.header)
    return [
        heading in table.numeric and any(cell != NONE for cell in column)
        for heading, column in zip(table.header, columns, strict=True)
    ]


def _pad(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)
