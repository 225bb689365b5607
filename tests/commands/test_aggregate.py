"""`mpdit aggregate`: what it writes and prints."""

from helpers.made_up_runs import entry, replace_text, write_plan, write_run

from mpdit.__main__ import main


def test_the_command_writes_one_csv_per_subject(tmp_path, capsys):
    folder = write_run(tmp_path / "runs", entry("A"))
    plan = str(write_plan(tmp_path / "plan.json", [entry("A"), entry("B")]))
    command = ["aggregate", plan, "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out: 2 runs (1 trained, 1 missing), 1 scores\n"
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        "angles.csv", "fid.csv", "magnitudes.csv", "runs.csv", "training.csv",
    ]  # fmt: skip
    replace_text(folder / "magnitudes.csv", "kind", "sort")
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"mpdit aggregate: {folder}/magnitudes.csv: missing column kind")
