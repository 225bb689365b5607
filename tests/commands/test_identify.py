"""`mpdit identify`: a study's pictures are listed again, by the name of what was made from them."""

import json

import yaml
from helpers.picture_zips import write_noise_zip
from helpers.projects import tiny_study

from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.experiment.known_source import read_known


def test_pictures_are_remembered_by_the_name_of_their_latents(tmp_path, capsys):
    write_noise_zip(tmp_path / "a.zip")
    configuration = tiny_study(data={"path": str(tmp_path / "a.zip")})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration))
    arguments = ["identify", str(tmp_path / "config.yaml"), "--results", str(tmp_path / "results")]
    name = Experiment(configuration).data_name
    assert main([*arguments, name]) == 0
    assert list(read_known(tmp_path / f"results/sources/{name}.json").states) == [str(tmp_path / "a.zip")]
    assert "a.zip: the pictures that results here were made from" in capsys.readouterr().out
    write_noise_zip(tmp_path / "a.zip", count=14)
    assert main([*arguments, name]) == 2
    assert "a.zip: holds other pictures" in capsys.readouterr().err


def test_an_unknown_name_is_one_line(tmp_path, capsys):
    for data, expected in (({}, "one of tiny-"), ({"source": "mnist", "path": None}, "none, since the study reads no")):
        assert main(["identify", json.dumps(tiny_study(data=data)), "x"]) == 2
        assert capsys.readouterr().err.startswith(f"mpdit identify: NAME: x: expected {expected}")
