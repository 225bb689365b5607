"""The model family: shapes, parameters, seeds, saving and loading, invalid arguments."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from helpers.tiny_models import GRID, awaken, inputs, tiny
from helpers.tiny_runs import make_spec

from mpdit import DiT, create_model
from mpdit.experiment.ladder import LADDER, MODELS, SIZES
from mpdit.experiment.names import canonical
from mpdit.model.dit import model_of_run

every_model = pytest.mark.parametrize(("config", "modulation"), GRID)


# --- The grid ---


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_grid_can_be_built_and_called(name):
    """On the meta device, in Configs A and E: (N, C, H, W) -> (N, 2C, H, W)."""
    for config, modulation in (("A", "scale_rotate"), ("E", "scale_shift")):
        with torch.device("meta"):
            model = create_model(name, config=config, modulation=modulation, input_size=16)
            x, t, y = torch.empty(2, 4, 16, 16), torch.empty(2), torch.empty(2, dtype=torch.int64)
            assert model(x, t, y).shape == (2, 8, 16, 16)
        size, patch = name.removeprefix("DiT-").split("/")
        assert (len(model.blocks), model.width, model.patch_size) == (SIZES[size].depth, SIZES[size].width, int(patch))


@every_model
def test_every_config_and_modulation_runs(config, modulation):
    """Outputs and gradients are finite, every parameter has a gradient, and every input changes the output."""
    model = awaken(tiny(config, modulation))
    x, t, y = inputs(model)
    output = model(x, t, y)
    output.square().mean().backward()
    assert output.shape == (3, 4, 4, 4)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    for other in ((x + 1, t, y), (x, (t + 500) % 1000, y), (x, t, (y + 1) % 4)):
        assert (model(*other) - output).abs().max() > 1e-4


@every_model
def test_images_of_a_batch_are_independent(config, modulation):
    model = awaken(tiny(config, modulation))
    x, t, y = inputs(model)
    whole = model(x, t, y)
    torch.testing.assert_close(torch.cat([model(x[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(3)]), whole)


@pytest.mark.parametrize("config", ["A", "E"])
def test_rotation_costs_5_4_percent_fewer_parameters(config):
    """In DiT-S/2 with 4x16x16 latents and 1000 classes, where the shift heads of 12 blocks become half as large."""
    with torch.device("meta"):
        shift, rotate = (
            sum(parameter.numel() for parameter in create_model("DiT-S/2", config, modulation).parameters())
            for modulation in ("scale_shift", "scale_rotate")
        )
    assert shift - rotate == 1_769_472
    assert (shift - rotate) / shift == pytest.approx(0.054, abs=5e-4)


# --- Seeds ---


def test_a_seed_gives_the_same_draws_in_every_config():
    """Plain weights are equal in A and B, and normalized ones in C, D and E; those of C have norm sqrt(n)."""
    models = {config: create_model("DiT-Nano/2", config, seed=5) for config in LADDER}
    weights = {config: model.blocks[1].mlp.down.weight for config, model in models.items()}
    assert torch.equal(weights["A"], weights["B"])
    assert torch.equal(weights["D"], weights["E"])
    torch.testing.assert_close(weights["C"], weights["D"] * 256**0.5)
    assert not torch.equal(weights["E"], create_model("DiT-Nano/2", "E", seed=6).blocks[1].mlp.down.weight)
    rotated = create_model("DiT-Nano/2", "E", "rotate", seed=5)
    assert torch.equal(weights["E"], rotated.blocks[1].mlp.down.weight)
    names = [name for name, parameter in models["E"].named_parameters() if parameter.ndim == 2]
    firsts = [models["E"].get_parameter(name).flatten()[0].item() for name in names]
    assert len(set(firsts)) == len(names)


def test_without_a_seed_weights_come_from_the_global_generator():
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights += [create_model("DiT-Nano/2").final.output.weight for _ in range(2)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_the_model_of_a_run_follows_its_spec_even_if_the_config_is_redefined(monkeypatch):
    run = make_spec("E", seed=5)
    monkeypatch.setitem(LADDER, "E", replace(LADDER["E"], norm="layer"))
    model = model_of_run(run, shape=(2, 4, 4), num_classes=3)
    assert (model.in_channels, model.input_size, model.num_classes) == (2, 4, 3)
    assert model.config == run.fields and model.config.norm == "none"
    expected = create_model(run.model, run.fields, run.modulation, input_size=4, in_channels=2, num_classes=3, seed=5)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), expected.parameters(), strict=True))


# --- Saving and loading ---


def test_a_saved_model_loads_unchanged(tmp_path):
    model = awaken(tiny("E", "rotate_full", activation="mp_leaky_relu"))
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    loaded = DiT.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert loaded.modulation == "rotate_full"
    assert canonical("fields", asdict(model.config)).keys() <= saved.keys()
    assert not any(isinstance(value, dict) for value in saved.values())
    x, t, y = inputs(model)
    assert torch.equal(loaded(x, t, y), model(x, t, y))


def test_redefining_a_config_changes_no_saved_model(tmp_path, monkeypatch):
    create_model("DiT-Nano/2", "E", seed=0).save_pretrained(tmp_path)
    monkeypatch.setitem(LADDER, "E", replace(LADDER["E"], norm="layer"))
    assert DiT.from_pretrained(tmp_path).config.norm == "none"
    assert create_model("DiT-Nano/2", "E").config.norm == "layer"


def test_only_parameters_are_stored():
    """Buffers are functions of the arguments, so EMAs and snapshots contain trained parameters and nothing else."""
    model = tiny("E", "rotate_full")
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


# --- Invalid arguments ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "DiT-S/3"}, "unknown model 'DiT-S/3'"),
        ({"name": "DiT-Q/2"}, "unknown model 'DiT-Q/2'"),
        ({"config": "F"}, "unknown config 'F': must be one of A, B, C, D, E"),
        ({"config": {"attention": "cosine"}}, "config fields ['attention']: must be exactly attention, weights"),
        ({"modulation": "twist"}, "modulation 'twist': expected one of scale, shift"),
        ({"input_size": 15}, "input_size is 15: must be divisible by patch_size (2)"),
        ({"num_classes": 0}, "num_classes is 0: must be a whole number of at least 1"),
        ({"in_channels": 1.5}, "in_channels is 1.5: must be a whole number of at least 1"),
        (
            {"activation": "relu"},
            "activation 'relu': expected one of silu, mp_silu, mp_leaky_relu; a part of your own needs",
        ),
        ({"dropout": 0.1}, "unknown argument 'dropout': must be a field of Config"),
    ],
)
def test_invalid_arguments_of_create_model(arguments, message):
    with pytest.raises(ValueError) as error:
        create_model(**{"name": "DiT-Nano/2", **arguments})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"width": 15, "heads": 3, "modulation": "rotate"},
            "width is 15: must give a whole number of outputs to the head angle of modulation rotate, 0.5 per feature",
        ),
        (
            {"width": 15, "heads": 3, "modulation": "scale_rotate"},
            "width is 15: must give a whole number of outputs to the head angle of modulation scale_rotate",
        ),
        ({"width": 18, "heads": 2}, "width is 18: must be divisible by 4"),
        ({"width": 16, "heads": 3}, "width is 16: must be divisible by heads (3)"),
        ({"depth": 0}, "depth is 0: must be a whole number of at least 1"),
    ],
)
def test_invalid_shapes(changes, message):
    with pytest.raises(ValueError) as error:
        tiny("E", **changes)
    assert message in str(error.value)


@pytest.mark.parametrize("shape", [(2, 2, 4, 6), (2, 3, 4, 4), (2, 2, 8, 8)])
def test_latents_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"must be \(N, 2, 4, 4\)"):
        tiny()(torch.zeros(shape), torch.zeros(2), torch.zeros(2, dtype=torch.int64))
