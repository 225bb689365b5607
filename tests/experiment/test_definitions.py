"""Configurations and sizes that a study defines in its own file, and one line for each mistake in them."""

import copy
import json
from dataclasses import replace

import pytest
import torch

from mpdit.experiment.definitions import FIELD_KINDS
from mpdit.experiment.grid import Experiment
from mpdit.experiment.ladder import LADDER, RUNGS, SHIPPED, Size
from mpdit.experiment.run_spec import RunSpec
from mpdit.model.dit import model_of_run
from mpdit.system.errors import UserError

STUDY = {
    "data": {"name": "digits", "source": "mnist", "resolution": 8},
    "training": {"steps": 100, "batch_size": 8, "snapshots": 4},
    "learning_rates": {"E": 0.02, "F": 0.01, "G": 0.01, "DiT-Tiny/2 F scale": 0.03},
    "configs": {
        "G": {"extends": "F", "adds": "gates that start closed", "gate_offset": "0"},
        "F": {"extends": "E", "adds": "LayerNorm back in", "norm": "layer"},
    },
    "sizes": {"Tiny": {"depth": 2, "width": 32, "heads": 4}},
    "experiments": {
        "mine": {"model": "DiT-Tiny/2", "config": ["E", "F", "G"], "modulation": ["scale", "shift"], "seed": 0}
    },
}


SHUT = {"extends": "E", "adds": "gates that start closed", "gate_offset": 0}


def study(**changes) -> Experiment:
    return Experiment(copy.deepcopy(STUDY) | changes)


def test_configurations_and_sizes_of_a_study_follow_the_shipped_ones_in_the_order_of_its_file():
    ladder = study().ladder
    assert list(ladder.rungs) == [*RUNGS, "G", "F"]
    assert ladder.configs["F"] == replace(LADDER["E"], norm="layer")
    assert ladder.configs["G"] == replace(LADDER["E"], norm="layer", gate_offset=0.0)
    assert (ladder.adds["G"], ladder.rungs["G"].extends) == ("gates that start closed", "F")
    assert ladder.parse_model("DiT-Tiny/4") == (Size(2, 32, 4), 4)
    assert ladder.models[: len(SHIPPED.models)] == SHIPPED.models


def test_two_studies_in_one_process_know_nothing_of_each_other():
    study()
    without = copy.deepcopy(STUDY) | {"configs": {}, "learning_rates": {"E": 0.02}}
    with pytest.raises(UserError, match=r"^experiments.mine.config\[1\]: expected one of A, B, C, .*, got 'F'"):
        Experiment(without)
    other = study(
        configs={**STUDY["configs"], "F": {"extends": "A", "adds": "cosines", "attention": "cosine"}, "G": SHUT}
    )
    assert other.ladder.configs["F"] == LADDER["B"]
    assert study().ladder.configs["F"].norm == "layer"


def test_a_run_of_a_study_of_its_own_names_describes_itself():
    experiment = study()
    run = next(run for run in experiment.runs.values() if run.config == "F")
    spec = json.loads(json.dumps(run.to_json()))
    assert spec["size"] == {"depth": 2, "width": 32, "heads": 4}
    assert spec["fields"]["norm"] == "layer"
    assert RunSpec.from_json(spec, "spec.json") == run
    with torch.device("meta"):
        model = model_of_run(run, (1, 8, 8), 10)
    assert (len(model.blocks), model.width, model.config) == (2, 32, experiment.ladder.configs["F"])
    assert {(other.lr, other.modulation) for other in experiment.runs.values() if other.config == "F"} == {
        (0.03, "scale"), (0.01, "shift"),
    }  # fmt: skip
    wider = study(sizes={"Tiny": {"depth": 2, "width": 64, "heads": 4}})
    assert not set(wider.runs) & set(experiment.runs)
    assert wider.blocks["mine"].runs[0].tuning_identity != experiment.blocks["mine"].runs[0].tuning_identity


def test_what_a_study_defines_is_in_its_recorded_configuration_and_only_there():
    recorded = study().configuration
    assert list(Experiment(json.loads(json.dumps(recorded))).runs) == list(study().runs)
    assert recorded["configs"]["F"] == STUDY["configs"]["F"]
    plain = {key: value for key, value in STUDY.items() if key not in ("configs", "sizes")}
    block = {**STUDY["experiments"]["mine"], "model": "DiT-S/2", "config": "E"}
    plain |= {"learning_rates": {"E": 1}, "experiments": {"mine": block}}
    assert not {"configs", "sizes"} & set(Experiment(plain).configuration)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configs": {"E": {"extends": "A", "adds": "x", "norm": "none"}}},
         "configs.E: Config E is shipped and keeps its meaning; expected another name"),
        ({"configs": {"H": {"extends": "Q", "adds": "x", "norm": "none"}}},
         "configs.H.extends: expected one of A, B, C, D, E, E-leaky, H, got 'Q'"),
        ({"configs": {"H": {"extends": "H", "adds": "x", "norm": "none"}}},
         "configs.H.extends: expected a configuration that does not extend H in turn, got 'H'"),
        ({"configs": {"H": {"adds": "x", "norm": "none"}}}, "configs.H.extends: missing; expected a text"),
        ({"configs": {"H": {"extends": "E", "norm": "layer"}}}, "configs.H.adds: missing; expected a text"),
        ({"configs": {"H": {"extends": "E", "adds": "x"}}},
         "configs.H: expected a field that differs from Config E, one of FIELDS; found none"),
        ({"configs": {"H": {"extends": "E", "adds": "x", "norm": "none"}}},
         "configs.H: expected a field that differs from Config E, one of FIELDS; found none"),
        ({"configs": {"H": {"extends": "E", "adds": "x", "norm": "batch"}}},
         "configs.H.norm: expected one of layer, none, got 'batch'"),
        ({"configs": {"H": {"extends": "E", "adds": "x", "gate_offset": "wide"}}},
         "configs.H.gate_offset: expected a number, got 'wide'"),
        ({"configs": {"H": {"extends": "E", "adds": "x", "nrom": "layer"}}},
         "configs.H: unknown key 'nrom' (did you mean 'norm'?); expected one of extends, adds, FIELDS"),
        ({"configs": {"E mine": {"extends": "E", "adds": "x", "norm": "layer"}}},
         "configs: expected a name of at most 40 letters, digits, underscores, dots and hyphens, got 'E mine'"),
        ({"configs": {"H": "layer"}},
         "configs.H: expected a mapping with keys from extends, adds, FIELDS, got 'layer'"),
        ({"sizes": {"S": {"depth": 2, "width": 32, "heads": 4}}},
         "sizes.S: size S is shipped and keeps its meaning; expected another name"),
        ({"sizes": {"Tiny": {"depth": 2, "width": 33, "heads": 3}}},
         "sizes.Tiny.width: expected a multiple of 4 and of the 3 heads, got 33"),
        ({"sizes": {"Ti-ny": {"depth": 2, "width": 32, "heads": 4}}},
         "sizes: expected a name of at most 40 letters, digits and underscores, got 'Ti-ny'"),
        ({"sizes": {"Tiny": {"depth": 2, "width": 32}}},
         "sizes.Tiny.heads: missing; expected a whole number of at least 1"),
        ({"learning_rates": {"E": 1, "F": 1, "G": 1, "H": 1}},
         "learning_rates: unknown key 'H'; expected a configuration (E), or model, configuration and modulation "
         "(DiT-S/2 E scale)"),
        ({"tuning": {"start": {"FF": 1}}},
         "tuning.start: unknown key 'FF' (did you mean 'F'?); expected one of A, B, C, D, E, E-leaky, G, F"),
        ({"learning_rates": {"E": 1, "G": 1}},
         "learning_rates.F: missing; experiments.mine names no lr, so it needs a number above 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(changes, message):
    if "configs" in changes:
        changes = {"configs": STUDY["configs"] | changes["configs"]} if "H" in changes["configs"] else changes
    with pytest.raises(UserError) as error:
        study(**changes)
    message = message.replace("FIELDS", ", ".join(FIELD_KINDS)).replace("E-leaky, H", "E-leaky, G, F, H")
    assert str(error.value) == message
