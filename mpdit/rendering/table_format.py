"""How tables look: numbers in words of print, and one table as CSV, Markdown and LaTeX (booktabs).

Cells are plain text; `**bold**` and the signs ± − × · — ³ are turned into LaTeX's own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..system.files import replacing, write_text

NONE = "—"  # nothing to show


@dataclass(frozen=True)
class Table:
    """A table: `frame` is what the CSV holds, in full precision; the rest is what a reader sees."""

    frame: object  # pandas DataFrame
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: Sequence[Sequence[str]] = ()  # rows beneath a rule, such as the floor
    notes: Sequence[str] = ()  # sentences
    wrap: Sequence[float] = ()  # of columns of sentences: widths on paper, of the line; such a table runs over pages


def save(table: Table, output: str | Path, caption: str) -> None:
    """Write the table as .csv, .md and .tex under the name of `output`."""
    output = Path(output)
    write_text(output.with_suffix(".md"), markdown(table, caption))
    write_text(output.with_suffix(".tex"), latex(table, caption, label=f"tab:{output.stem}"))
    with replacing(output.with_suffix(".csv")) as part:
        table.frame.to_csv(part, index=False, lineterminator="\n")


def markdown(table: Table, caption: str) -> str:
    """GitHub's Markdown: caption, table with columns padded to one width, notes."""
    lines = [[cell.replace("|", r"\|") for cell in row] for row in (table.header, *table.rows, *table.footer)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    right = _numeric(table)
    rule = [("-" * (width - 1) + ":" if flush else "-" * width) for width, flush in zip(widths, right, strict=True)]
    padded = [[_pad(*cell) for cell in zip(line, widths, right, strict=True)] for line in lines]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])
    return f"**{caption}**\n\n{text}\n\n{' '.join(table.notes)}\n"


ROWS_A_PAGE = 40  # of a table whose cells don't wrap


def latex(table: Table, caption: str, label: str) -> str:
    """A `table` environment with booktabs rules and the notes beneath, shrunk to the line where it is wider.

    Columns of words with one value in all rows are told in the notes instead: a page is narrower than a screen. More
    rows than a page holds become several tables; a table whose cells wrap becomes a `longtable` on pages on their side.
    """
    if table.wrap:
        return _long_latex(table, caption, label)
    flush, same = _numeric(table), {}
    columns = zip(*table.rows, *table.footer, strict=True) if table.rows else [()] * len(flush)
    for head, right, column in zip(table.header, flush, columns, strict=True):
        cells, beneath = set(column[: len(table.rows)]), column[len(table.rows) :]
        if len(table.rows) > 1 and len(cells) == 1 and not right and not any(beneath):
            same[head] = column[0]
    kept = [i for i, head in enumerate(table.header) if head not in same]
    told = ", ".join(f"{head} {cell}" for head, cell in same.items() if cell != NONE)
    notes = " ".join([f"In all rows: {told}."] * bool(told) + list(table.notes))
    heads = [_stacked(table.header[i]) if flush[i] else escape(table.header[i]) for i in kept]
    body, footer = ([_latex_row([escape(row[i]) for i in kept]) for row in rows] for rows in (table.rows, table.footer))
    columns = "".join("r" if flush[i] else "l" for i in kept)
    pages = [body[i : i + ROWS_A_PAGE] for i in range(0, len(body), ROWS_A_PAGE)] or [[]]
    parts = [r"% needs \usepackage{booktabs, graphicx}"]
    for number, page in enumerate(pages):
        last = number == len(pages) - 1
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)}}}\label{{{label}}}" if number == 0 else rf"Table~\ref{{{label}}}, continued",
            r"\medskip",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(heads),
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


def _long_latex(table: Table, caption: str, label: str) -> str:
    """A `longtable` in small print on pages on their side: columns have the widths of `wrap`, rows run over pages."""
    spaces = 2 * (len(table.header) - 1) / len(table.header)  # of \tabcolsep, a column's share of what lies between
    widths = [rf"\dimexpr {width / sum(table.wrap):.4f}\linewidth-{spaces:.4f}\tabcolsep" for width in table.wrap]
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{width}}}" for width in widths)
    head = _latex_row([escape(head) for head in table.header])
    return "\n".join([
        r"% needs \usepackage{array, booktabs, longtable, lscape}",
        r"\begin{landscape}\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"\caption{{{escape(caption)}}}\label{{{label}}}\\",
        r"\toprule",
        head,
        r"\midrule\endfirsthead",
        r"\toprule",
        head,
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


def _stacked(head: str) -> str:
    """A long heading of a narrow column, on two lines."""
    first, space, rest = head.partition(" (" if " (" in head else " ")
    if len(head) < 11 or not space:
        return escape(head)
    return rf"\shortstack[r]{{{escape(first)}\\{escape(space.strip() + rest)}}}"


def _numeric(table: Table) -> list[bool]:
    """Which columns are set flush right: those with a number in every row that has anything."""
    columns = zip(*table.rows, strict=True) if table.rows else [[]] * len(table.header)
    return [
        any(map(_is_number, column)) and all(_is_number(cell) or cell == NONE for cell in column) for column in columns
    ]


def _is_number(cell: str) -> bool:
    """Whether a cell begins as a number and is no sentence: `**69.28** ± 0.41`, `1.09 to 1.14`, `−4.9 %`."""
    return re.match(r"(\*\*)?[+−]?\d", cell) is not None and re.search(r"[a-z]{3}", cell) is None


def _pad(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$",
    "—": "---", "³": "$^{3}$", "∞": r"$\infty$", "é": r"\'e",
}  # fmt: skip


def escape(text: str) -> str:
    """LaTeX of a plain text: special characters escaped, 1e-4 as a power of ten, **bold** as bold."""
    text = "".join(_LATEX.get(sign, sign) for sign in text)
    text = re.sub(r"\b(\d+(?:\.\d+)?)e(-?\d+)\b", r"$\1 \\times 10^{\2}$", text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers as they are printed; NaN is shown as nothing


def spread(mean: float, sd: float = float("nan"), bold: bool = False) -> str:
    """Such as `69.28` or, with a standard deviation, `69.28 ± 0.41`."""
    if mean != mean:
        return NONE
    mark = "**" if bold else ""
    return f"{mark}{mean:.2f}{mark}".replace("-", "−") + (f" ± {sd:.2f}" if sd == sd else "")


def percent(change: float) -> str:
    """Such as `−12.8 %`, always with its sign."""
    return NONE if change != change else f"{change:+.1f} %".replace("-", "−")


def signed(difference: float) -> str:
    """Such as `+0.52`, always with its sign."""
    return NONE if difference != difference else f"{difference:+.2f}".replace("-", "−")


def significant(number: float) -> str:
    """Three significant digits: `0.0123`, `12.3`, `1,230`."""
    if number != number:
        return NONE
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def times(ratio: float) -> str:
    """Such as `1.05×`."""
    return NONE if ratio != ratio else f"{ratio:.2f}×"


def rate(lr: float) -> str:
    """A learning rate as papers write it: `1e-4`, `2.5e-3`."""
    if lr != lr:
        return NONE
    mantissa, exponent = f"{lr:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def value(found) -> str:
    """Any value of a protocol: `ddpm`, `1,000`, `1.5`."""
    if found != found:
        return NONE
    return found if isinstance(found, str) else f"{found:,.10g}"


def parameters(number: float) -> str:
    """A number of parameters: `32.96 M`, `312 K`."""
    if number != number:
        return NONE
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} K"
