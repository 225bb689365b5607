"""The README shows what works: its commands are those that CI runs, its snippets run, the files it names exist."""

import re
from pathlib import Path

import pandas as pd
import torch

import mpdit
from mpdit.__main__ import VERBS
from mpdit.rendering import artifacts, registry, style

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_first_two_commands_are_those_that_ci_runs():
    job, tests = (block.strip().split(" && ") for block in blocks("sh")[:2])
    environment = ["python3 -m venv .venv", ". .venv/bin/activate"]
    assert job == [*environment, "pip install -e .", "snakemake --cores all results/table1.csv"]
    assert tests == [*environment, "pip install -e '.[test]'", "pytest"]
    ci = (ROOT / ".ci/run").read_text().splitlines()
    assert {job[-1], tests[-1], ". .ci/environment"} <= set(ci)
    assert "pip install --quiet -e '.[test]'" in (ROOT / ".ci/environment").read_text().splitlines()


def test_files_that_it_names_exist():
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    named = re.findall(r"`((?:mpdit|workflow|benchmarks|results/example)/[\w./-]+\.\w+)`", README)
    named += re.findall(r"--configfile ((?:workflow|tests)/\S+)", README)
    for path in linked + named:
        assert path.startswith("http") or (ROOT / path).is_file(), path


def test_verbs_that_it_names_exist():
    named = set(re.findall(r"(?:^|`)mpdit (\w+)", README, re.MULTILINE))
    assert len(named) > 4 and named <= set(VERBS)
    assert "python -m mpdit" not in README


def test_a_trained_model_loads_in_three_lines(tmp_path):
    saved = mpdit.create_model("DiT-Nano/4", input_size=8, in_channels=1, num_classes=10, seed=0)
    saved.save_pretrained(tmp_path)
    (code,) = (block for block in blocks("python") if "from_pretrained" in block)
    assert len([line for line in code.splitlines() if line]) == 3
    names = {"x": torch.randn(2, 1, 8, 8), "t": torch.tensor([3, 900]), "y": torch.tensor([1, 10])}
    exec(code.replace("results/runs/<run>", str(tmp_path)), names)
    assert names["output"].shape == (2, 2, 8, 8)
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(names["model"].parameters(), saved.parameters(), strict=True)
    )


def test_the_figure_in_five_lines_is_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "ARTIFACTS", {})
    (code,) = (block for block in blocks("python") if "@figure" in block)
    assert len(code.splitlines()) <= 5
    exec(code, {"figure": registry.figure, "style": style})
    runs = pd.DataFrame({"config": ["A", "E"], "images_per_second": [10.0, 9.0]})
    artifacts.render(registry.ARTIFACTS["speed"], {"runs": runs}, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 1000
    assert (tmp_path / "speed.pdf").stat().st_size > 1000
