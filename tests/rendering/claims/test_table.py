"""The table of verdicts."""

from helpers.made_up_studies import INCEPTION, seeds, study
from helpers.paper_verdicts import claims

from mpdit.experiment.columns import AGGREGATES, SCHEMAS
from mpdit.rendering import table_format
from mpdit.rendering.claims.verdicts import COLUMNS
from mpdit.rendering.registry import CLAIMS
from mpdit.results.tables import empty_table


def test_an_empty_study_has_every_claim_once():
    empty = {name: empty_table(SCHEMAS[name]) for name in AGGREGATES} | {"cost": None}
    table = claims(empty)
    assert table.frame["claim"].tolist() == list(CLAIMS)
    assert set(table.frame["verdict"]) == {"not run"}
    assert "There are no runs yet." in table.notes


def test_the_csv_has_every_model_and_the_printed_table_those_that_were_run():
    small = [*seeds("A", 80.0, 81.0), *seeds("E", 70.0, 71.0)]
    big = [
        *seeds("E", 70.0, 71.0, model="DiT-S/2"),
        *seeds("E", 70.5, 71.5, model="DiT-S/2", modulation="scale_rotate"),
    ]
    table = claims(study(*small, *big))
    assert len(table.frame) == 2 * len(CLAIMS)
    assert list(table.frame.columns) == list(COLUMNS)
    shown = [(row[0].split(" (")[0], row[table.header.index("model")]) for row in table.rows]
    assert [model for sentence, model in shown if sentence == "Config E has a lower FID than Config A"] == [
        "DiT-Nano/2"
    ]
    assert [model for sentence, model in shown if "within 2 points" in sentence] == ["DiT-S/2"]
    assert "listed for both in the CSV" in " ".join(table.notes)


def test_the_table_cell_by_cell():
    table = claims(study(*seeds("A", 100.0, 50.0), *seeds("E", 90.0, 40.0)))
    assert list(table.header) == [
        "claim", "paper", "ours (95 % interval)", "n", "verdict", "setting", "what would decide it",
    ]  # fmt: skip
    assert list(table.rows[1][:6]) == [
        "The FID of Config E is about 12.8 % below that of Config A (−19.2 to −6.4 %)", "−12.8 %",
        "−15.1 % (−59.8 to +79.3)", "2", "undecided",
        "E (2e-2) vs. A (1e-3), scale + shift; FID, EMA width 0.05",
    ]  # fmt: skip
    assert table.rows[2][2:5] == ["—", "—", "not run"]
    notes = " ".join(table.notes)
    assert "Holm's correction over the 2 tests here" in notes
    assert "runs of a seed share batches, noise and label dropout" in notes
    assert INCEPTION["features"] in notes
    assert "| The FID of Config E is about 12.8 %" in table_format.markdown(table, "Claims.")
