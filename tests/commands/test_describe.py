"""What `mpdit describe` prints is what the model is."""

import math

import pytest
import torch
from helpers.tiny_models import GRID, tiny

from mpdit import create_model
from mpdit.__main__ import main
from mpdit.commands.describe import CORRELATIONS, count_flops, magnitudes
from mpdit.model.layers import magnitude
from mpdit.model.magnitudes import correlated_latents
from mpdit.training.step_time import flops


def described(capsys, *arguments: str) -> list[str]:
    assert main(["describe", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(("letter", "modulation"), [("A", "rotate_full"), ("E", "scale_rotate")])
def test_the_tree_holds_every_parameter(capsys, letter, modulation):
    lines = described(capsys, "DiT-Nano/2", "--config", letter, "--modulation", modulation, "--no-magnitudes")
    model = create_model("DiT-Nano/2", letter, modulation)
    tree = {line[:28].rstrip(): line[28:].split()[-2:] for line in lines[5:]}
    assert number(tree["model"][0]) == sum(parameter.numel() for parameter in model.parameters())
    assert number(tree["  blocks, 3 in all"][0]) == sum(parameter.numel() for parameter in model.blocks.parameters())
    for part in ("patch_embedding", "time_embedding", "label_embedding", "final"):
        assert number(tree[f"  {part}"][0]) == sum(p.numel() for p in model.get_submodule(part).parameters())
    assert number(tree["model"][1]) == pytest.approx(flops(model) / 1e6, abs=0.006)
    assert f"config {letter}" in lines[0]
    assert f"weights {model.config.weights}" in lines[1]
    assert not any("magnitudes" in line for line in lines)


@pytest.mark.parametrize(("letter", "modulation"), GRID)
def test_flops_are_those_of_torchs_counter(letter, modulation):
    with torch.device("meta"):
        model = tiny(letter, modulation, depth=3, input_size=8)
    assert sum(count_flops(model).values()) == flops(model)


@pytest.mark.parametrize("name", ["DiT-S/2", "DiT-B/4"])
def test_flops_by_hand(name):
    with torch.device("meta"):
        model = create_model(name, "E", "scale_shift")
    d, tokens, patch = model.width, model.position.shape[0], model.patch_size**2 * 4
    block = 24 * tokens * d**2 + 4 * tokens**2 * d + 12 * d**2
    embeddings = 2 * tokens * (patch + 1) * d + 2 * 256 * d + 2 * d**2
    final = 4 * d**2 + 4 * tokens * d * patch
    assert sum(count_flops(model).values()) == 12 * block + embeddings + final


def test_magnitudes_are_printed_for_every_block(capsys):
    lines = described(capsys, "DiT-Nano/2", "--images", "4", "--input-size", "8")
    start = next(i for i, line in enumerate(lines) if line.startswith("block"))
    rows = [line.split() for line in lines[start + 1 :]]
    assert [row[0] for row in rows] == ["input", "0", "1", "2"]
    model = create_model("DiT-Nano/2", "E", seed=0, input_size=8)
    found = magnitudes(model, 4, 0, seed=0)
    assert float(rows[0][1]) == pytest.approx(found[-1, "residual"], abs=6e-4)
    assert float(rows[3][5]) == pytest.approx(found[2, "residual"], abs=6e-4)
    assert float(rows[3][1]) == pytest.approx(found[2, "attention_input"], abs=6e-4)
    again = magnitudes(model, 4, CORRELATIONS[-1], seed=0)
    assert float(rows[3][8]) == pytest.approx(again[2, "residual"], abs=6e-4)


@pytest.mark.parametrize("correlation", [0, *CORRELATIONS])
def test_correlated_latents(correlation):
    """Neighbours have the correlation asked for, the diagonal ones its square, and all have magnitude 1."""
    x = correlated_latents((4000, 2, 4, 4), correlation, torch.Generator().manual_seed(0)).double()
    error = 5 / math.sqrt(4000)
    assert magnitude(x).item() == pytest.approx(1, abs=error)
    assert (x[..., 1:, :] * x[..., :-1, :]).mean().item() == pytest.approx(correlation, abs=error)
    assert (x[..., 1:] * x[..., :-1]).mean().item() == pytest.approx(correlation, abs=error)
    assert (x[..., 1:, 1:] * x[..., :-1, :-1]).mean().item() == pytest.approx(correlation**2, abs=error)
    assert (x[:, 0] * x[:, 1]).mean().item() == pytest.approx(0, abs=error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DiT-S/3"], "unknown model 'DiT-S/3'"),
        (["DiT-S/2", "--config", "Z"], "unknown config 'Z'"),
        (["DiT-S/2", "--modulation", "twist"], "modulation is 'twist'"),
        (["DiT-S/8", "--input-size", "12"], "input_size is 12: must be divisible by patch_size (8)"),
        (["DiT-S/2", "--images", "0"], "--images: 0: must be at least 1"),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, message):
    assert main(["describe", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mpdit describe: ")
    assert message in error
    assert error.count("\n") == 1
