"""The parts of docs/how-to/study.py on real digits: built, trained, and used afterwards in every way that a run is."""

import ast
import hashlib
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.tiny_runs import make_spec, read_outcome, train_in

from mpdit import DiT
from mpdit.__main__ import main
from mpdit.experiment import parts
from mpdit.experiment.grid import read_experiment
from mpdit.experiment.ladder import resolve
from mpdit.experiment.run_spec import DataIdentity, RunSpec
from mpdit.experiment.study_file import load_study, registered, take_back
from mpdit.model.dit import model_of_run
from mpdit.system.errors import UserError

STUDY = Path(__file__).parents[1] / "docs/how-to/study.py"
OWN = {  # parts of the study: fields that use them
    "swiglu": {"activation": "swiglu"},
    "qk_norm": {"attention": "qk_norm"},
    "rope": {"attention": "rope"},
    "registers": {"block": "registers"},
}


@pytest.fixture
def study(registries):
    load_study(STUDY)


def spec(config: str = "E", **fields: str) -> RunSpec:
    """A run of 6 steps on 8x8 digits."""
    chosen = resolve({**asdict(resolve(config)), **fields})
    run = make_spec(config, steps=6, snapshots=2)
    own = parts.identities(asdict(chosen), run.modulation)
    return replace(run, data=DataIdentity("mnist8", 8, None, "none"), fields=chosen, parts=own)


def test_each_part_takes_at_most_thirty_lines():
    functions = [node for node in ast.parse(STUDY.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == list(OWN)
    assert all(function.end_lineno - function.decorator_list[0].lineno < 30 for function in functions)


def test_the_configuration_of_the_how_to_page_uses_these_parts(registries, tmp_path):
    (own,) = re.findall(r"```yaml\n(.*?)```", (STUDY.parent / "parts.md").read_text(), re.DOTALL)
    configs = list(yaml.safe_load(own)["configs"])
    block = {"model": "DiT-Nano/4", "config": configs, "modulation": "scale", "seed": 0, "lr": 0.01}
    rest = {"data": {"name": "digits", "source": "mnist", "resolution": 8}, "experiments": {"own": block}}
    (tmp_path / "config.yaml").write_text(own + yaml.safe_dump(rest))
    shutil.copy(STUDY, tmp_path)
    used = [
        identity["name"]
        for run in read_experiment(tmp_path / "config.yaml").runs.values()
        for identity in run.parts.values()
    ]
    assert used == list(OWN)


@pytest.mark.parametrize("config", ["A", "E"])
@pytest.mark.parametrize("part", OWN)
def test_a_part_is_built_with_the_weights_of_the_configuration(study, part, config):
    model = model_of_run(spec(config, **OWN[part]), (1, 8, 8), 10)
    again = model_of_run(spec(config, **OWN[part]), (1, 8, 8), 10)
    matrices = {name for name, parameter in model.named_parameters() if parameter.ndim == 2 and "scales" not in name}
    assert set(model.sphere_rows("plain" if config == "A" else "forced")) == matrices
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), again.parameters(), strict=True))
    for row in model.sphere_rows().values():
        torch.testing.assert_close(row.norm(dim=1), torch.ones(len(row)))


@pytest.mark.parametrize("fields", [{**OWN["qk_norm"], **OWN["swiglu"], **OWN["registers"]}, OWN["rope"]])
def test_a_run_with_parts_is_trained_and_used_where_the_study_is_named(
    registries, tiny_latents, tmp_path, capsys, fields
):
    before = registered()
    load_study(STUDY)
    run = spec(**fields)
    assert run.name != spec().name and set(run.parts) == set(fields)
    folder = tmp_path / run.name
    assert train_in(folder, run, tiny_latents) == 0
    outcome = read_outcome(folder)
    assert outcome.status == "trained" and np.isfinite(outcome.loss)
    assert outcome.study == hashlib.sha256(STUDY.read_bytes()).hexdigest()
    model = DiT.from_pretrained(folder)
    for row in model.sphere_rows().values():
        torch.testing.assert_close(row.norm(dim=1), torch.ones(len(row)))
    take_back(before)

    # Another process, which does not know the parts
    (folder / "study.py").write_text("raise SystemExit('a file in a downloaded folder was run')\n")
    assert RunSpec.read(folder / "spec.json") == run
    kind, name = next(iter(fields.items()))
    message = (
        f"{kind} {name!r}: expected one of {', '.join(parts.SHIPPED[kind])}; a part of your own needs the study.py"
    )
    with pytest.raises(UserError, match=message):
        DiT.from_pretrained(folder)
    words = [str(folder), "--latents", str(tiny_latents), "--device", "cpu"]
    trace = ["trace", *words, "--images", "4", "--timesteps", "500", "--output", str(folder / "magnitudes.csv")]
    capsys.readouterr()
    assert main(trace) == 2
    assert capsys.readouterr().err.startswith(f"mpdit trace: {message}")

    assert main([*trace, "--study", str(STUDY)]) == 0
    weights = pd.read_csv(folder / "magnitudes.csv").query("kind == 'weight' and step == 0")
    assert np.allclose(weights["magnitude"], 1, atol=1e-3)
    assert ("registers" in set(weights["site"])) == ("block" in fields)
    sample = ["sample", *words, "--sampler", "ddim", "--steps", "2", "--count", "10", "--ema-width", "0.1"]
    assert main([*sample, "--output", str(folder / "samples/own"), "--study", str(STUDY)]) == 0
    with np.load(folder / "samples/own/samples.npz") as samples:
        assert samples["arr_0"].shape == (10, 8, 8, 3)
    loaded = DiT.from_pretrained(folder, study=STUDY)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded.parameters(), model.parameters(), strict=True))


def test_a_model_needs_the_version_that_it_was_made_with(registries, tmp_path):
    before = registered()
    file = tmp_path / "study.py"
    file.write_text(STUDY.read_text())
    load_study(file)
    model_of_run(spec(**OWN["swiglu"]), (1, 8, 8), 10).save_pretrained(tmp_path / "model")
    assert json.loads((tmp_path / "model/config.json").read_text())["parts"] == {
        "activation": {"name": "swiglu", "version": 1, "options": {"hidden": 8 / 3}}
    }
    take_back(before)
    file.write_text(STUDY.read_text().replace('"swiglu", version=1', '"swiglu", version=2'))
    with pytest.raises(UserError) as error:
        DiT.from_pretrained(tmp_path / "model", study=file)
    assert str(error.value) == (
        f"activation 'swiglu': made with version 1 and hidden 2.66667, but {file}, line 6 has version 2 and "
        f"hidden 2.66667; expected the study.py that it was made with"
    )
