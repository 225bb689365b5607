"""The table that every block of `experiments:` has, cell by cell."""

from helpers.made_up_runs import entry, frames
from helpers.made_up_scores import modulations, runs_of_e

from mpdit.rendering.block_table import block_table


def lines(table) -> dict[str, dict[str, str]]:
    """The cells of each row by heading, by the first cell of the row."""
    return {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def seeds(config: str, *kids: float, **changes) -> list[tuple]:
    return [(entry(config, seed, **changes), "trained", [{"kid": kid}]) for seed, kid in enumerate(kids)]


def test_configurations_are_compared_with_the_first_of_the_block():
    data = frames(*seeds("E", 0.1, 0.11, 0.12), *seeds("E-leaky", 0.05, 0.056, 0.06), cost=None)
    table = block_table(data)
    assert list(table.header) == [
        "config", "what it adds", "parameters", "n", "FD (EfficientNet-Lite0)", "KD ×10³",
        "KD vs. E (95 % interval)", "KD p", "step time", "status",
    ]  # fmt: skip
    leaky = lines(table)["E-leaky"]
    assert leaky["KD vs. E (95 % interval)"].startswith("−49.7 % (")
    assert leaky["KD p"] == "< 0.001"
    assert leaky["KD ×10³"].startswith("**55.33**")
    assert lines(table)["E"]["KD vs. E (95 % interval)"] == "—"
    assert table.notes[0] == "All rows: DiT-Nano/2, scale + shift, learning rate 2e-2."
    assert "Changes are relative to Config E." in table.notes
    assert table.frame["change_p_holm"].notna().tolist() == [False, True]


def test_modulations_are_compared_with_the_first_where_the_configuration_is_one():
    table = block_table(modulations())
    assert table.header[0] == "modulation"
    assert "config" not in table.header
    assert lines(table)["scale + shift"]["KD vs. scale (95 % interval)"] == "+0.0 % (+0.0 to +0.0)"
    assert lines(table)["rotate"]["KD vs. scale (95 % interval)"] == "—"


def test_rates_are_compared_within_each_configuration_and_not_tested():
    runs = [run for lr in (1e-3, 1e-2) for config in "AE" for run in seeds(config, lr, 1.1 * lr, lr=lr)]
    data = frames(*runs, cost=None)
    data["runs"]["tuning"] = "given"
    table = block_table(data)
    assert "Changes are relative to learning rate 1e-3." in table.notes
    changes = [row[table.header.index("KD vs. 1e-3 (95 % interval)")] for row in table.rows]
    assert [change[:8] for change in changes] == ["—", "+900.0 %", "—", "+900.0 %"]
    assert {row[table.header.index("KD p")] for row in table.rows} == {"—"}
    assert table.above[0].startswith("Learning rates were not tuned")


def test_a_block_of_one_setting_has_a_row_and_no_changes():
    table = block_table(frames(*runs_of_e("scale", 77.0, 79.0), cost=None))
    assert [row[0] for row in table.rows] == ["E"]
    assert not any("vs." in heading or heading.endswith(" p") for heading in table.header)
    assert table.notes[0] == "All rows: DiT-Nano/2, scale, learning rate 2e-2."


def test_a_seed_that_diverged_and_a_shared_sampling_seed_withhold_what_tables_1_and_2_withhold():
    runs = [*seeds("A", 0.1, 0.11), *seeds("E", 0.05, 0.055), (entry("C", 0), "trained", [{"kid": 0.05}])]
    runs.append((entry("C", 1), "diverged", []))
    data = frames(*runs, cost=None)
    data["fid"]["sampling_seed"] = 0
    rows = lines(block_table(data))
    assert rows["C"]["KD vs. A (95 % interval)"] == "—"
    assert rows["E"]["KD vs. A (95 % interval)"].startswith("−50.0 %")
    assert rows["E"]["KD p"] == "—"


def test_an_interim_table_tests_nothing():
    data = frames(*seeds("E", 0.1, 0.11, 0.12), *seeds("E-leaky", 0.05, 0.056, 0.06), cost=None) | {"interim": True}
    table = block_table(data)
    assert "KD p" not in table.header
    assert "**" not in str(table.rows)
