"""Tables cell by cell against numbers worked out by hand, and their Markdown and LaTeX."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from helpers.made_up_runs import (
    PROTOCOL,
    SCORE,
    SCORE_FILE,
    entry,
    frames,
    score_row,
    write_plan,
    write_rows,
    write_run,
)

from mpdit import paper
from mpdit.experiment.columns import AGGREGATES, COST, FID, MAGNITUDES, RUNS, SCHEMAS
from mpdit.experiment.ladder import MODELS
from mpdit.rendering import table_format as tables
from mpdit.results import summary
from mpdit.results.collect import collect, read_plan
from mpdit.results.tables import empty_table, read_table, write_tables
from mpdit.system.errors import UserError

NO_MAGNITUDES = empty_table(MAGNITUDES)


def cells(table: tables.Table, letter: str) -> dict:
    (row,) = [row for row in table.rows if row[0] == letter]
    return dict(zip(table.header, row, strict=True))


@pytest.fixture
def one_seed():
    """A to E, one seed: FIDs 80, 84, 60, 64, 50."""
    fids = {"A": 80.0, "B": 84.0, "C": 60.0, "D": 64.0, "E": 50.0}
    cost = pd.DataFrame(
        [
            ("DiT-Nano/2", letter, "scale_shift", form, relative, "a processor")
            for letter, form, relative in [
                ("A", "cheap", 1.0), ("D", "textbook", 1.21), ("D", "cheap", 1.1), ("E", "cheap", 1.039),
            ]
        ],
        columns=["model", "config", "modulation", "form", "relative", "device"],
    )  # fmt: skip
    runs = [(entry(letter), "trained", [{"fid": fid, "kid": fid / 500}]) for letter, fid in fids.items()]
    return frames(*runs, cost=cost)


SAME = ("DiT-Nano/2", "scale + shift")
SIZE = ("1.23 M", "1")  # parameters, n


def test_table1_of_one_seed_cell_by_cell(one_seed):
    table = paper.tables.table1(one_seed)
    assert list(table.header) == [
        "config", "what it adds", "model", "modulation", "learning rate", "parameters", "n", "FD (EfficientNet-Lite0)",
        "KD ×10³", "change vs A", "step time", "status",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["A", "baseline DiT", *SAME, "1e-3", *SIZE, "80.00", "160.00", "—", "1.00×", "trained"],
        ["B", "cosine attention", *SAME, "1e-3", *SIZE, "84.00", "168.00", "+5.0 %", "—", "trained"],
        ["C", "magnitude-preserving layers", *SAME, "2e-2", *SIZE, "60.00", "120.00", "−25.0 %", "—", "trained"],
        ["D", "forced weight normalization", *SAME, "2e-2", *SIZE, "64.00", "128.00", "−20.0 %", "1.10×", "trained"],
        ["E", "no LayerNorm", *SAME, "2e-2", *SIZE, "50.00", "100.00", "−37.5 %", "1.04×", "trained"],
    ]  # fmt: skip
    assert [list(row) for row in table.footer] == [
        ["", "real images (1,000)", "", "", "", "", "", "12.25", "0.50", "", "", ""]
    ]


def test_table1_as_csv_is_in_full_precision_with_its_protocol(one_seed):
    frame = paper.tables.table1(one_seed).frame.set_index("config")
    row = frame.loc["E"]
    assert (row["fid_mean"], row["fid_change_percent"], row["relative_step_time"]) == (50.0, -37.5, 1.039)
    assert np.isnan(row["fid_sd"])
    assert (row["fid_floor"], row["kid_floor"], row["floor_count"]) == (12.25, 0.0005, 1000)
    assert row["metric"] == "FD (EfficientNet-Lite0)"
    protocol = [
        "sampler",
        "sampling_steps",
        "guidance",
        "count",
        "ema_width",
        "snapshot_step",
        "features",
        "features_hash",
    ]
    assert row[protocol].tolist() == ["ddpm", 50, 1.0, 1000, 0.05, 100, "efficientnet-lite0", "fe00"]
    assert row[["reference", "reference_count", "reference_hash", "n"]].tolist() == ["mnist8", 5000, "4e00", 1]
    assert frame.loc["D", "relative_step_time"] == 1.1  # the cheap form, in which runs are trained


def test_one_seed_ranks_nothing(one_seed):
    table = paper.tables.table1(one_seed)
    assert "**" not in str(table.rows)
    assert "±" not in str(table.rows)
    notes = " ".join(table.notes)
    assert "One seed (n = 1)" in notes
    assert (
        "Protocol: ddpm sampler, 50 sampling steps, guidance 1, 1,000 samples, EMA width 0.05, snapshot of step 100, "
        "features of efficientnet-lite0, reference mnist8, 5,000 real images; lower is better."
    ) in notes
    assert "fewer samples than features" in notes
    assert "on a processor" in notes


def test_seeds_are_averaged_over_their_sampling_seeds_first():
    """Seed 0: (10 + 20) / 2 = 15; seed 1: 21. Mean 18, not 17; sd sqrt(2 * 3^2 / 1) = 4.243."""
    scores = [{"fid": 10.0, "sampling_seed": 0}, {"fid": 20.0, "sampling_seed": 1, "protocol": "other"}]
    data = frames((entry("A", 0), "trained", scores), (entry("A", 1), "trained", [{"fid": 21.0}]))
    (row,) = summary.summarize(data["runs"], data["fid"]).to_dict("records")
    assert (row["n"], row["fid_mean"], row["sampling_seeds"]) == (2, 18.0, 1)
    assert row["fid_sd"] == pytest.approx(18**0.5)
    assert cells(paper.tables.table1(data), "A")["FD (EfficientNet-Lite0)"] == "18.00 ± 4.24"
    assert "mean over sampling seeds" not in " ".join(paper.tables.table1(data).notes)


def test_the_lowest_mean_of_several_seeds_is_bold():
    data = frames(
        *((entry("A", seed), "trained", [{"fid": 80.0 + seed}]) for seed in (0, 1)),
        *((entry("E", seed), "trained", [{"fid": 60.0 - seed}]) for seed in (0, 1)),
    )
    table = paper.tables.table1(data)
    assert cells(table, "E")["FD (EfficientNet-Lite0)"] == "**59.50** ± 0.71"
    assert cells(table, "A")["FD (EfficientNet-Lite0)"] == "80.50 ± 0.71"
    assert "bold: the lowest" in " ".join(table.notes)
    data["fid"] = data["fid"].iloc[:3]  # E is left with one seed
    assert "**" not in str(paper.tables.table1(data).rows)


def test_no_row_is_bold_for_what_is_left_of_its_seeds():
    seeds = [(entry("E", seed), "trained", [{"fid": 50.0}]) for seed in (0, 1)] + [(entry("E", 2), "diverged", [])]
    table = paper.tables.table1(frames(*((entry("A", seed), "trained", [{"fid": 80.0}]) for seed in (0, 1)), *seeds))
    assert "**" not in str(table.rows)
    assert cells(table, "E")["status"] == "2 trained, 1 diverged"
    assert cells(table, "E")["n"] == "2"
    assert "Seeds that diverged have no score and are in no mean." in table.notes


@pytest.mark.parametrize(
    ("status", "shown"), [("missing", "missing"), ("running", "running"), ("diverged", "diverged at step 100")]
)
def test_runs_without_a_score_are_shown_as_they_are(one_seed, status, shown):
    runs = one_seed["runs"]
    runs.loc[runs["config"] == "A", "status"] = status
    one_seed["fid"] = one_seed["fid"][one_seed["fid"]["config"] != "A"]
    table = paper.tables.table1(one_seed)
    assert len(table.rows) == 5
    assert cells(table, "A")["status"] == shown
    assert cells(table, "A")["FD (EfficientNet-Lite0)"] == "—"
    assert {cells(table, letter)["change vs A"] for letter in "BCDE"} == {"—"}


def test_a_table_without_any_score():
    table = paper.tables.table1(frames((entry("A"), "missing", []), (entry("E"), "running", [])))
    assert [row[-1] for row in table.rows] == ["missing", "running"]
    assert table.footer == []
    assert table.notes == ["No run has been scored yet."]
    assert "Ladder" in tables.latex(table, "Ladder", "tab:x")


def test_no_rows_at_all():
    empty = {name: empty_table(SCHEMAS[name]) for name in AGGREGATES} | {"cost": None}
    assert "No run" in tables.markdown(paper.tables.table1(empty), "Ladder")


def test_protocols_never_share_a_row(one_seed):
    wider = one_seed["fid"].assign(ema_width=0.1, fid=one_seed["fid"]["fid"] + 1, protocol="wider")
    one_seed["fid"] = pd.concat([one_seed["fid"], wider])
    table = paper.tables.table1(one_seed)
    assert len(table.rows) == 10
    found = {(row[0], row[-1]): row[table.header.index("FD (EfficientNet-Lite0)")] for row in table.rows}
    assert table.header[-1] == "ema width"
    assert (found["E", "0.05"], found["E", "0.1"]) == ("50.00", "51.00")
    change = {(row[0], row[-1]): row[table.header.index("change vs A")] for row in table.rows}
    assert (change["E", "0.05"], change["E", "0.1"]) == ("−37.5 %", "−37.0 %")  # each against A at its own width
    assert "EMA width" not in " ".join(table.notes)
    assert len(table.footer) == 1


def test_plain_weights_are_a_protocol_of_their_own():
    data = frames((entry("A"), "trained", [{"fid": 1.0}]))
    data["fid"]["ema_width"] = np.nan  # an empty cell
    assert "plain weights" in paper.tables.table1(data).notes[0]
    assert cells(paper.tables.table1(data), "A")["FD (EfficientNet-Lite0)"] == "1.00"


def test_fid_is_called_so_for_inception_only():
    data = frames((entry("A"), "trained", [{"features": "inception", "fid_rank_deficient": False}]))
    table = paper.tables.table1(data)
    assert list(table.header[7:9]) == ["FID", "KID ×10³"]
    assert "fewer samples" not in " ".join(table.notes)
    both = frames((entry("A"), "trained", [{}, {"features": "inception", "features_hash": "1"}]))
    assert {"FID or FD", "features"} <= set(paper.tables.table1(both).header)
    assert set(paper.tables.table1(both).frame["metric"]) == {"FID", "FD (EfficientNet-Lite0)"}


PAPERS_OWN = {"steps": 250, "count": 10_000, "step": 400_000, "features": "inception", "fid": 88.0}


def of_the_paper(letter: str, same=True, **score) -> dict:
    """Aggregates of a letter and of E on XS/2, sampled as the paper did but for `score`."""
    row = PAPERS_OWN | score
    return frames(*((entry(c, model="DiT-XS/2", paper_setting=same), "trained", [row]) for c in (letter, "E")))


def test_the_papers_number_and_the_difference_stand_beside_ours():
    table = paper.tables.table1(of_the_paper("C"))
    assert cells(table, "C")["paper"] == "86.49"
    assert cells(table, "C")["difference"] == "+1.51"
    assert (cells(table, "E")["paper"], cells(table, "E")["difference"]) == ("—", "—")  # the paper gives none
    assert table.frame["paper_difference"].tolist()[0] == pytest.approx(1.51)
    assert "difference: ours minus the paper's" in " ".join(table.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"same": False}, {"sampler": "ddim"}, {"steps": 50}, {"guidance": 1.5}, {"count": 5_000}, {"ema_width": 0.1},
        {"step": 200_000}, {"features": "efficientnet-lite0"},
    ],
    ids=str,
)  # fmt: skip
def test_the_papers_number_stands_nowhere_else(change):
    table = paper.tables.table1(of_the_paper("C", **change))
    assert "paper" not in table.header
    assert table.frame["paper_fid"].isna().all()


def test_of_several_widths_only_the_papers_own_has_its_number():
    data = of_the_paper("C")
    wider = data["fid"].assign(ema_width=0.1, protocol="wider")
    table = paper.tables.table1(data | {"fid": pd.concat([data["fid"], wider])})
    found = table.frame[table.frame["config"] == "C"].set_index("ema_width")["paper_fid"]
    assert found[0.05] == 86.49
    assert np.isnan(found[0.1])


def test_two_runs_of_one_setting_and_seed_are_refused():
    twin = entry("A") | {"run": "another-name"}
    with pytest.raises(UserError) as error:
        paper.tables.table1(frames((entry("A"), "trained", [{}]), (twin, "trained", [{}])))
    assert str(error.value) == (
        f"runs {entry('A')['run']} and another-name: both have model DiT-Nano/2, config A, modulation scale_shift, "
        "lr 0.001, data mnist8, seed 0: must be one run per setting and seed"
    )


def test_no_baseline_is_chosen_among_several():
    a = [(entry("A", lr=lr), "trained", [{"fid": 80.0}]) for lr in (1e-4, 1e-3)]
    table = paper.tables.table1(frames(*a, (entry("E"), "trained", [{"fid": 40.0}])))
    assert cells(table, "E")["change vs A"] == "—"


def test_rows_stand_in_the_order_of_the_grid():
    letters = [(entry(letter, model=model), "missing", []) for letter in "EA" for model in ("DiT-S/2", "DiT-XS/2")]
    rows = summary.summarize(**{key: frames(*letters)[key] for key in ("runs", "fid")})
    assert rows[["model", "config"]].to_numpy().tolist() == [
        ["DiT-XS/2", "A"], ["DiT-XS/2", "E"], ["DiT-S/2", "A"], ["DiT-S/2", "E"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tables.rate(1e-4), "1e-4"), (tables.rate(0.02), "2e-2"), (tables.rate(2.5e-3), "2.5e-3"),
        (tables.percent(-12.84), "−12.8 %"), (tables.percent(0.0), "+0.0 %"), (tables.times(1.085), "1.08×"),
        (tables.parameters(32_960_000), "32.96 M"), (tables.parameters(214_272), "214 K"),
        (tables.spread(69.284, 0.416), "69.28 ± 0.42"), (tables.spread(float("nan")), "—"),
        (tables.value(10_000), "10,000"), (tables.value(0.05), "0.05"), (tables.value("ddpm"), "ddpm"),
    ],
)  # fmt: skip
def test_numbers_as_they_are_printed(made, expected):
    assert made == expected


# ---------------------------------------------------------------------------------------------------------------------
# Modulations, learning rates, cost


def kinds(modulation: str, *fids: float, **axes) -> list[tuple]:
    """A run a score of a modulation with E, of seeds 0, 1, ..."""
    return [
        (entry("E", seed, modulation=modulation, **axes), "trained", [{"fid": fid}]) for seed, fid in enumerate(fids)
    ]


@pytest.fixture
def modulations():
    """E on two seeds; scale + rotate has 95,000 parameters where AdaLN has 100,000; rotate diverged."""
    gone = (entry("E", 0, modulation="rotate"), "diverged", [])
    data = frames(
        *kinds("scale", 77.0, 79.0), *kinds("scale_shift", 64.0, 66.0), gone, *kinds("scale_rotate", 65.0, 68.9)
    )
    sizes = {"scale": 80_000.0, "scale_shift": 100_000.0, "scale_rotate": 95_000.0, "rotate": 90_000.0}
    data["runs"]["parameters"] = data["runs"]["modulation"].map(sizes)
    return data


def test_table2_cell_by_cell(modulations):
    """Means 78, 65, 66.95; changes 78 / 65 - 1 = 20 % and 66.95 / 65 - 1 = 3 %; sd of 64 and 66 is sqrt 2."""
    table = paper.tables.table2(modulations)
    assert list(table.header) == [
        "modulation", "config", "model", "learning rate", "parameters", "vs AdaLN", "n", "FD (EfficientNet-Lite0)",
        "KD ×10³", "change vs AdaLN", "status",
    ]  # fmt: skip
    same, kd = ("E", "DiT-Nano/2", "2e-2"), "125.00 ± 0.00"
    assert [list(row) for row in table.rows] == [
        ["scale", *same, "80 K", "−20.0 %", "2", "78.00 ± 1.41", kd, "+20.0 %", "trained"],
        ["scale + shift", *same, "100 K", "—", "2", "**65.00** ± 1.41", kd, "—", "trained"],
        ["rotate", *same, "90 K", "−10.0 %", "0", "—", "—", "—", "diverged at step 100"],
        ["scale + rotate", *same, "95 K", "−5.0 %", "2", "66.95 ± 2.76", kd, "+3.0 %", "trained"],
    ]
    assert table.footer[0][0] == "real images (1,000)"
    assert "AdaLN's, that is scale + shift with the same letter" in " ".join(table.notes)
    assert "Step time" not in " ".join(table.notes)
    found = table.frame.set_index("modulation")
    assert found.loc["scale_rotate", "fid_change_percent"] == pytest.approx(3.0)
    assert found["best"].tolist() == [False, True, False, False]


def test_modulations_are_compared_with_adaln_of_the_same_letter_model_and_protocol(modulations):
    other = frames(*kinds("scale", 10.0, model="DiT-S/2"), *kinds("scale_shift", 20.0, model="DiT-S/2"))
    runs = pd.concat([modulations["runs"], other["runs"]])
    both = {"runs": runs, "fid": pd.concat([modulations["fid"], other["fid"]])}
    table = paper.tables.table2(both)
    found = {(row[2], row[0]): row[table.header.index("change vs AdaLN")] for row in table.rows}
    assert (found["DiT-S/2", "scale"], found["DiT-Nano/2", "scale"]) == ("−50.0 %", "+20.0 %")
    without = {key: both[key][both[key]["modulation"] != "scale_shift"] for key in both}
    assert {row[-2] for row in paper.tables.table2(without).rows} == {"—"}


def test_table3_cell_by_cell():
    """E at three rates, one of them diverged and one still running on its second seed; bold is the best of a letter."""
    rates = {1e-4: (90.0, 92.0), 1e-3: (60.0, 63.0), 1e-2: ()}
    runs = [r for lr, fids in rates.items() for r in kinds("scale_shift", *fids, lr=lr)]
    runs += [(entry("E", seed, lr=1e-2), "diverged", []) for seed in (0, 1)]
    runs += [(entry("A", seed, lr=1e-4), "trained", [{"fid": 70.0 + seed}]) for seed in (0, 1)]
    runs += [(entry("A", 0, lr=1e-3), "trained", [{"fid": 75.0}]), (entry("A", 1, lr=1e-3), "running", [])]
    table = paper.tables.table3(frames(*runs))
    assert list(table.header) == [
        "model", "config", "modulation", "learning rate", "n", "FD (EfficientNet-Lite0)", "KD ×10³", "status",
    ]  # fmt: skip
    keep = [1, 3, 4, 5, 7]
    assert [[row[i] for i in keep] for row in table.rows] == [
        ["A", "1e-4", "2", "70.50 ± 0.71", "trained"],  # not bold: its other rate has one seed
        ["A", "1e-3", "1", "75.00", "1 trained, 1 running"],
        ["E", "1e-4", "2", "91.00 ± 1.41", "trained"],
        ["E", "1e-3", "2", "**61.50** ± 2.12", "trained"],
        ["E", "1e-2", "0", "—", "diverged"],
    ]
    assert table.footer[0][0] == "real images (1,000)"
    assert "bold: the lowest of a letter." in " ".join(table.notes)


def test_table4_cell_by_cell():
    cost = pd.DataFrame(
        [
            (
                "DiT-S/2",
                "E",
                "scale_shift",
                "textbook",
                32_960_000,
                6.06e9,
                0.1234,
                1.085,
                1.07,
                1.101,
                40,
                "a card",
                1,
            ),
            ("DiT-S/2", "A", "scale_shift", "cheap", 32_950_000, 6.05e9, 0.11, 1.0, 1.0, 1.0, 40, "a card", 1),
            ("DiT-Nano/4", "E", "scale_rotate", "cheap", 250_000, 4.2e6, 0.0015, 1.02, 0.99, 1.05, 40, "a card", 1),
        ],
        columns=COST.names,
    )
    table = paper.tables.table4({"cost": cost})
    assert list(table.header) == [
        "config", "model", "modulation", "form", "parameters", "GFLOPs", "ms a step", "step time", "interval (95 %)",
    ]  # fmt: skip
    assert [list(row) for row in table.rows] == [
        ["E", "DiT-Nano/4", "scale + rotate", "cheap", "250 K", "0.00420", "1.50", "1.02×", "0.99 to 1.05"],
        ["A", "DiT-S/2", "scale + shift", "cheap", "32.95 M", "6.05", "110", "1.00×", "1.00 to 1.00"],
        ["E", "DiT-S/2", "scale + shift", "textbook", "32.96 M", "6.06", "123", "1.08×", "1.07 to 1.10"],
    ]
    assert list(table.frame.columns) == list(COST.names)
    assert "On a card, 1 thread, 40 rounds." in table.notes
    for nothing in (None, cost.iloc[:0]):
        empty = paper.tables.table4({"cost": nothing})
        assert (empty.rows, empty.notes) == ([], ["Not measured yet."])


# ---------------------------------------------------------------------------------------------------------------------
# Markdown and LaTeX


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


def test_latex_holds_the_cells_and_tells_what_all_rows_share(one_seed):
    text = tables.latex(paper.tables.table1(one_seed), "The ladder, 100 % & more_", "tab:table1")
    head, *rows = parse_latex(text)
    assert head[:2] == ["config", "what it adds"]
    assert rows[4] == [
        "E", "no LayerNorm", r"$2 \times 10^{-2}$", "1.23 M", "1", "50.00", "100.00", "$-$37.5 ", r"1.04$\times$",
    ]  # fmt: skip
    assert rows[5][1] == "real images (1,000)"
    assert "In all rows: model DiT-Nano/2, modulation scale + shift, status trained." in text
    assert r"The ladder, 100 \% \& more\_" in text


def test_latex_keeps_a_column_that_names_the_floor():
    runs = [(entry("E", modulation=modulation), "trained", [{}]) for modulation in ("scale", "scale_shift")]
    text = tables.latex(paper.tables.table1(frames(*runs)), "Modulations", "tab:x")
    assert [row[0] for row in parse_latex(text)] == [
        "what it adds",
        "no LayerNorm",
        "no LayerNorm",
        "real images (1,000)",
    ]
    assert "In all rows: config E, model DiT-Nano/2, status trained." in text


def of_many_rows(one_seed) -> tables.Table:
    """A to E on 20 models."""
    found = [
        {key: one_seed[key].assign(model=model, run=one_seed[key]["run"] + model) for key in ("runs", "fid")}
        for model in MODELS[:20]
    ]
    return paper.tables.table1(
        {key: pd.concat(part[key] for part in found) for key in ("runs", "fid")} | {"cost": None}
    )


def test_more_rows_than_a_page_holds_are_several_tables(one_seed):
    text = tables.latex(of_many_rows(one_seed), "Many", "tab:many")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count(r"\caption{Many}\label{tab:many}") == 1
    assert text.count(r"Table~\ref{tab:many}, continued") == 2
    assert text.count("no LayerNorm") == 20
    assert text.count("real images (1,000)") == text.count("Protocol: ") == 1
    assert text.index("real images") > text.rindex("no LayerNorm")


def test_a_table_of_sentences_runs_over_pages():
    table = paper.claims.claims(frames(*kinds("scale_shift", 65.0, 66.0)) | {"magnitudes": NO_MAGNITUDES})
    text = tables.latex(table, "The claims, 100 %", "tab:claims")
    assert text.isascii()
    assert re.findall(r"\\begin{(\w+)}", text) == ["landscape", "longtable", "minipage"]
    head, body = text.split(r"\endhead")
    widths = [float(width) for width in re.findall(r"p{\\dimexpr ([\d.]+)\\linewidth", head)]
    assert len(widths) == len(table.header)
    assert sum(widths) == pytest.approx(1.0, abs=0.001)
    rows = [line for line in body.splitlines() if line.endswith(r"\\\addlinespace")]
    assert [row.count(" & ") for row in rows] == [len(table.header) - 1] * len(table.rows)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_fits(one_seed, modulations, tmp_path):
    cost = pd.DataFrame([dict.fromkeys(COST.names, 1.0) | {
        "model": "DiT-S/2", "config": "E", "modulation": "scale", "form": "cheap", "device": "A_100 & co",
    }])  # fmt: skip
    made = {
        "table1": paper.tables.table1(one_seed),
        "many": of_many_rows(one_seed),
        "table2": paper.tables.table2(modulations),
        "table3": paper.tables.table3(modulations),
        "table4": paper.tables.table4({"cost": cost}),
        "claims": paper.claims.claims(modulations | {"magnitudes": NO_MAGNITUDES}),
        "nothing": paper.tables.table4({"cost": None}),
    }
    for name, table in made.items():
        tables.save(table, tmp_path / f"{name}.csv", "The ladder, 100 % & more_")
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


def test_markdown_is_a_table_of_equal_lines(one_seed):
    text = tables.markdown(paper.tables.table1(one_seed), "The ladder.")
    title, _, *lines = text.splitlines()
    lines, notes = lines[:-2], lines[-1]
    assert title == "**The ladder.**"
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + 5 + 1
    assert {line.count(" | ") for line in lines} == {11}
    assert notes.startswith("Protocol: ")


NOT_IN_STATISTICS = ("reference_count", "kid", "kid_sd", "fid_floor", "kid_floor", "floor_count")


def test_what_precomputed_statistics_lack_is_a_dash_in_tables(tmp_path):
    entries = [entry("A"), entry("E")]
    for run, fid in zip(entries, (80.0, 50.0), strict=True):
        score = score_row(run, fid=fid, reference="adm.npz") | dict.fromkeys(NOT_IN_STATISTICS)
        write_rows(write_run(tmp_path, run) / f"samples/{PROTOCOL}" / SCORE_FILE, SCORE, [score])
    tables = collect(read_plan(write_plan(tmp_path / "plan.json", entries)), tmp_path)
    write_tables(tables, tmp_path)
    fid = read_table(tmp_path / "fid.csv", FID)
    assert fid[list(NOT_IN_STATISTICS)].isna().all(axis=None) and fid["reference"].tolist() == ["adm.npz"] * 2
    runs = read_table(tmp_path / "runs.csv", RUNS)
    table = paper.tables.table1({**tables, "runs": runs, "fid": fid, "cost": None})
    lines = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [line["FD (EfficientNet-Lite0)"] for line in lines] == ["80.00", "50.00"]
    assert [line["KD ×10³"] for line in lines] == ["—", "—"]
    assert lines[1]["change vs A"] == "−37.5 %"
    assert list(table.footer) == []
    notes = " ".join(table.notes)
    assert "reference adm.npz; lower is better" in notes and "no kernel distance and no floor" in notes
    assert "Real images:" not in notes
