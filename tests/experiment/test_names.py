"""Names, specs and messages of frozen configurations: what runs are called never changes, by any later change."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from mpdit.experiment import Experiment
from mpdit.system.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "configurations"
NAMES = json.loads((GOLDEN / "names.json").read_text())
SPELLINGS = json.loads((GOLDEN / "spellings.json").read_text())
WRONG = json.loads((GOLDEN / "wrong.json").read_text())


def sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize("path", NAMES)
def test_a_frozen_shipped_configuration_keeps_every_name_and_spec(path):
    experiment, frozen = Experiment(yaml.safe_load((GOLDEN / Path(path).name).read_text())), NAMES[path]
    blocks = {
        name: {"runs": [run.name for run in block.runs], "protocols": [protocol.name for protocol in block.protocols]}
        for name, block in experiment.blocks.items()
    }
    assert blocks == frozen["blocks"]
    assert {name: sha256(run.to_json()) for name, run in experiment.runs.items()} == frozen["specs_sha256"]
    assert experiment.measured() == frozen["measured"]
    for name in ("data_name", "reference_name", "score_file"):
        assert getattr(experiment, name) == frozen[name]


@pytest.mark.parametrize("case", SPELLINGS, ids=[case["label"] for case in SPELLINGS])
def test_every_spelling_of_a_value_gives_the_frozen_names(case):
    experiment = Experiment(case["config"])
    assert list(experiment.runs) == case["runs"]
    assert list(experiment.protocols) == case["protocols"]
    assert [sha256(run.to_json()) for run in experiment.runs.values()] == case["specs_sha256"]


@pytest.mark.parametrize("case", WRONG, ids=[case["label"] for case in WRONG])
def test_every_mistake_is_one_line_that_says_what_was_expected(case):
    with pytest.raises(UserError) as error:
        Experiment(case["config"])
    assert str(error.value).splitlines() == case["message"]
