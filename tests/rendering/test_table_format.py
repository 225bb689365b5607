"""Tables as Markdown and LaTeX."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
from helpers.made_up_runs import entry, frames
from helpers.made_up_scores import modulations, one_seed, runs_of_e
from helpers.paper_verdicts import claims

from mpdit.experiment.columns import COST, MAGNITUDES
from mpdit.experiment.ladder import MODELS
from mpdit.paper.tables import table1, table2, table3, table4
from mpdit.rendering import table_format
from mpdit.results.tables import empty_table

NO_MAGNITUDES = empty_table(MAGNITUDES)


def parse_latex(text: str) -> list[list[str]]:
    """Rows of cells of a table; fails where braces, environments or the number of columns don't agree."""
    plain = text.replace(r"\{", "").replace(r"\}", "").replace(r"\%", "").replace(r"\&", "")
    plain = "\n".join(line.partition("%")[0] for line in plain.splitlines())
    assert plain.count("{") == plain.count("}")
    assert re.findall(r"\\begin{(\w+)}", plain) == ["table", "tabular", "minipage"]
    assert re.findall(r"\\end{(\w+)}", plain) == ["tabular", "minipage", "table"]
    assert plain.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)[_#]", plain)
    assert plain.isascii()
    columns, body = re.search(r"\\begin{tabular}{(\w+)}\n(.*)\\end{tabular}", plain, re.DOTALL).groups()
    rows = [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if not line.endswith("rule")]
    assert {len(row) for row in rows} == {len(columns)}
    assert [line for line in body.splitlines() if line.endswith("rule")][:: len(body)] == [r"\toprule"]
    return rows


def test_latex_has_the_cells_and_moves_what_all_rows_share_to_the_notes():
    text = table_format.latex(table1(one_seed()), "The ladder, 100 % & more_", "tab:table1")
    head, *rows = parse_latex(text)
    assert head[:2] == ["config", "what it adds"]
    assert rows[4] == [
        "E", "no LayerNorm", r"$2 \times 10^{-2}$", "1.23 M", "1", "50.00", "100.00", r"1.04$\times$",
    ]  # fmt: skip
    assert rows[5][1] == "real images (1,000)"
    assert "In all rows: model DiT-Nano/2, modulation scale + shift, status trained." in text
    assert r"The ladder, 100 \% \& more\_" in text


def test_latex_keeps_the_column_that_names_the_real_images():
    runs = [(entry("E", modulation=modulation), "trained", [{}]) for modulation in ("scale", "scale_shift")]
    text = table_format.latex(table1(frames(*runs)), "Modulations", "tab:x")
    assert [row[0] for row in parse_latex(text)] == [
        "what it adds",
        "no LayerNorm",
        "no LayerNorm",
        "real images (1,000)",
    ]
    assert "In all rows: config E, model DiT-Nano/2, status trained." in text


def of_many_rows() -> table_format.Table:
    """Configurations A to E on 20 models."""
    data = one_seed()
    found = [
        {key: data[key].assign(model=model, run=data[key]["run"] + model) for key in ("runs", "fid")}
        for model in MODELS[:20]
    ]
    return table1({key: pd.concat(part[key] for part in found) for key in ("runs", "fid")} | {"cost": None})


def test_more_rows_than_a_page_holds_are_several_tables():
    text = table_format.latex(of_many_rows(), "Many", "tab:many")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count(r"\caption{Many}\label{tab:many}") == 1
    assert text.count(r"Table~\ref{tab:many}, continued") == 2
    assert text.count("no LayerNorm") == 20
    assert text.count("real images (1,000)") == text.count("Protocol: ") == 1
    assert text.index("real images") > text.rindex("no LayerNorm")


def test_a_table_of_sentences_runs_over_pages():
    table = claims(frames(*runs_of_e("scale_shift", 65.0, 66.0)) | {"magnitudes": NO_MAGNITUDES})
    text = table_format.latex(table, "The claims, 100 %", "tab:claims")
    assert text.isascii()
    assert re.findall(r"\\begin{(\w+)}", text) == ["landscape", "longtable", "minipage"]
    head, body = text.split(r"\endhead")
    widths = [float(width) for width in re.findall(r"p{\\dimexpr ([\d.]+)\\linewidth", head)]
    assert len(widths) == len(table.header)
    assert sum(widths) == pytest.approx(1.0, abs=0.001)
    rows = [line for line in body.splitlines() if line.endswith(r"\\\addlinespace")]
    assert [row.count(" & ") for row in rows] == [len(table.header) - 1] * len(table.rows)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_fits(tmp_path):
    cost = pd.DataFrame([dict.fromkeys(COST.names, 1.0) | {
        "model": "DiT-S/2", "config": "E", "modulation": "scale", "form": "cheap", "device": "A_100 & co",
    }])  # fmt: skip
    made = {
        "table1": table1(one_seed()),
        "many": of_many_rows(),
        "table2": table2(modulations()),
        "table3": table3(modulations()),
        "table4": table4({"cost": cost}),
        "claims": claims(modulations() | {"magnitudes": NO_MAGNITUDES}),
        "nothing": table4({"cost": None}),
    }
    for name, table in made.items():
        table_format.save(table, tmp_path / f"{name}.csv", "The ladder, 100 % & more_")
    inputs = "".join(rf"\input{{{name}}}" for name in made)
    (tmp_path / "page.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{array,booktabs,graphicx,longtable,lscape}}"
        rf"\begin{{document}}{inputs}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    for _ in range(2):  # longtable and references settle
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    for fault in ("Overfull", "Float too large", "undefined"):
        assert fault not in done.stdout, done.stdout


def test_markdown_is_a_table_of_equal_lines():
    text = table_format.markdown(table1(one_seed()), "The ladder.")
    title, _, *lines = text.splitlines()
    lines, notes = lines[:-2], lines[-1]
    assert title == "**The ladder.**"
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + 5 + 1
    assert {line.count(" | ") for line in lines} == {11}
    assert notes.startswith("Protocol: ")
