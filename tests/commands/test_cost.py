"""`mpdit cost`: the CSV that it writes, and mistakes in its options."""

import csv
import shutil
from pathlib import Path

import pytest

from mpdit.__main__ import main

STUDY = Path(__file__).parents[2] / "docs/how-to/study.py"


@pytest.fixture
def run(tmp_path, tiny_latents):
    """A function that runs the command with further options and returns its rows, or its exit status if not 0."""

    def call(*options):
        output = tmp_path / "cost.csv"
        common = ["--latents", str(tiny_latents), "--batch-size", "2", "--rounds", "6"]
        status = main(["cost", *common, "--output", str(output), "--device", "cpu", *options])
        if status:
            return status
        with open(output, newline="") as file:
            return list(csv.DictReader(file))

    return call


def test_each_variant_has_a_row_with_its_step_time(run):
    rows = run("--variants", "DiT-Nano/2:scale_shift:A,B", "DiT-Nano/2:scale:E", "--threads", "1")
    variants = [(row["model"], row["modulation"], row["config"], row["form"]) for row in rows]
    assert variants == [
        ("DiT-Nano/2", "scale_shift", "A", "cheap"),
        ("DiT-Nano/2", "scale_shift", "B", "cheap"),
        ("DiT-Nano/2", "scale", "E", "cheap"),
        ("DiT-Nano/2", "scale", "E", "textbook"),
    ]
    assert (rows[0]["relative"], rows[0]["relative_high"]) == ("1.0000", "1.0000")
    for row in rows:
        assert float(row["relative_low"]) <= float(row["relative"]) <= float(row["relative_high"])
        assert 0 < float(row["step_seconds"]) < 5
        assert (row["rounds"], row["device"], row["threads"]) == ("6", "cpu", "1")


def test_parts_of_a_study_are_timed_in_both_forms(run, registries, tmp_path):
    shutil.copy(STUDY, tmp_path)
    own = tmp_path / "config.yaml"
    own.write_text("study: study.py\nconfigs: {E-own: {extends: E, adds: registers, block: registers}}\n")
    rows = run("--variants", "DiT-Nano/4:scale:E-own", "--configuration", str(own))
    assert [(row["config"], row["form"]) for row in rows] == [("E-own", "cheap"), ("E-own", "textbook")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variants", "DiT-Nano/2:scale_shift:A,F"], "--variants: DiT-Nano/2:scale_shift:A,F: unknown config"),
        (["--variants", "DiT-Nano/2:twist:A"], "twist:A: modulation 'twist': expected one of scale, shift"),
        (["--variants", "DiT-Nano/2:A"], "--variants: DiT-Nano/2:A: must be MODEL:MODULATION:CONFIGS"),
        (["--rounds", "5"], "--rounds: 5: must be at least 6"),
        (["--variants", "DiT-Nano/2:scale:A", "DiT-Q/2:scale:A"], "unknown model 'DiT-Q/2'"),
        (["--batch-size", "0"], "--batch-size: 0: must be at least 1"),
        (["--latents", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_an_error_in_one_line(run, capsys, options, message):
    assert run(*([] if "--variants" in options else ["--variants", "DiT-Nano/2:scale_shift:A"]), *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
