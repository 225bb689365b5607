"""`mpdit describe` prints what the model is."""

import re
import shutil
from pathlib import Path

import pytest

from mpdit import create_model
from mpdit.__main__ import main
from mpdit.commands.describe import CORRELATIONS, magnitudes
from mpdit.model.flops import flops

STUDY = Path(__file__).parents[2] / "docs/how-to/study.py"


def describe(capsys, *arguments: str) -> list[str]:
    """The lines that `mpdit describe` prints."""
    assert main(["describe", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(("config", "modulation"), [("A", "rotate_full"), ("E", "scale_rotate")])
def test_the_tree_counts_every_parameter(capsys, config, modulation):
    lines = describe(capsys, "DiT-Nano/2", "--config", config, "--modulation", modulation, "--no-magnitudes")
    model = create_model("DiT-Nano/2", config, modulation)
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines[5:]]
    tree = {label: numbers for label, *numbers in cells}
    assert number(tree["model"][-2]) == sum(parameter.numel() for parameter in model.parameters())
    assert number(tree["blocks (3 in total)"][-2]) == sum(parameter.numel() for parameter in model.blocks.parameters())
    for part in ("patch_embedding", "time_embedding", "label_embedding", "final"):
        assert number(tree[part][-2]) == sum(p.numel() for p in model.get_submodule(part).parameters())
    assert number(tree["model"][-1]) == pytest.approx(flops(model) / 1e6, abs=0.006)
    parts = ("patch_embedding", "time_embedding", "label_embedding", "blocks (3 in total)", "final")
    assert sum(number(tree[part][-1]) for part in parts) == pytest.approx(flops(model) / 1e6, abs=0.03)
    assert f"Config {config}" in lines[0]
    assert f"weights {model.config.weights}" in lines[1]
    assert not any("agnitudes" in line for line in lines)


def test_magnitudes_are_printed_for_every_block(capsys):
    lines = describe(capsys, "DiT-Nano/2", "--images", "4", "--input-size", "8")
    start = next(i for i, line in enumerate(lines) if line.startswith("block "))
    rows = [line.split() for line in lines[start + 1 :]]
    assert [row[0] for row in rows] == ["input", "0", "1", "2"]
    model = create_model("DiT-Nano/2", "E", seed=0, input_size=8)
    independent = magnitudes(model, 4, 0, seed=0)
    assert float(rows[0][1]) == pytest.approx(independent[-1, "residual"], abs=6e-4)
    assert float(rows[3][5]) == pytest.approx(independent[2, "residual"], abs=6e-4)
    assert float(rows[3][1]) == pytest.approx(independent[2, "attention_input"], abs=6e-4)
    correlated = magnitudes(model, 4, CORRELATIONS[-1], seed=0)
    assert float(rows[3][8]) == pytest.approx(correlated[2, "residual"], abs=6e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DiT-S/3"], "unknown model 'DiT-S/3'"),
        (["DiT-S/2", "--config", "Z"], "unknown config 'Z'"),
        (["DiT-S/2", "--modulation", "twist"], "modulation 'twist'"),
        (["DiT-S/8", "--input-size", "12"], "input_size is 12: must be divisible by patch_size (8)"),
        (["DiT-S/2", "--images", "0"], "--images: 0: must be at least 1"),
    ],
)
def test_a_mistake_is_reported_in_one_line(capsys, arguments, message):
    assert main(["describe", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("mpdit describe: ")
    assert message in error
    assert error.count("\n") == 1


def test_parts_of_a_study_are_described_with_their_versions(registries, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(STUDY, "study.py")
    own = "configs: {E-own: {extends: E, adds: SwiGLU, activation: swiglu, block: registers}}\nstudy: study.py\n"
    Path("config.yaml").write_text(own)
    assert main(["describe", "DiT-Nano/4", "--configuration", "config.yaml", "--config", "E-own", "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Config E-own (SwiGLU)" in printed
    assert (
        "with activation swiglu (version 1 and hidden 2.66667, study.py, line 6), block registers (version 1" in printed
    )
    assert "registers" in printed and "residual" in printed
