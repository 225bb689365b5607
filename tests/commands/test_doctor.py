"""The doctor on this machine: one line per finding, and an exit status that tells whether there is a problem."""

import yaml
from helpers.projects import TINY

from mpdit.__main__ import main


def test_this_machine_can_run_a_small_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and all(line.split()[0] in ("ok", "note") for line in lines)


def test_what_a_configuration_lacks_is_a_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = {**TINY["data"], "source": "zip", "path": "pictures.zip"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**TINY, "data": data}))
    assert main(["doctor"]) == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem")]
    assert problems == [f"problem  data.path: pictures.zip: no such file or folder; paths are relative to {tmp_path}"]
    assert main(["doctor", "--configfile", "none.yaml"]) == 2
