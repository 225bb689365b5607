"""The README and the documentation show what works: commands that CI runs, snippets that run, files that exist."""

import re
from pathlib import Path

import pandas as pd
import torch

import mpdit
from mpdit.__main__ import VERBS
from mpdit.rendering import artifacts, registry, style

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
MOST_WORDS = 900  # of the README: the rest belongs into docs/


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[ROOT / page], re.MULTILINE | re.DOTALL)


def test_the_first_two_commands_are_those_that_ci_runs():
    job, tests = (block.strip().split(" && ") for block in blocks("sh")[:2])
    environment = ["python3 -m venv .venv", ". .venv/bin/activate"]
    assert job == [*environment, "pip install -e .", "snakemake --cores all results/table1.csv"]
    assert tests == [*environment, "pip install -e '.[test]'", "pytest"]
    ci = (ROOT / ".ci/run").read_text().splitlines()
    assert {job[-1], tests[-1], ". .ci/environment"} <= set(ci)
    assert "pip install --quiet -e '.[test]'" in (ROOT / ".ci/environment").read_text().splitlines()


def test_the_readme_is_short_enough_to_be_read():
    assert len(README.split()) <= MOST_WORDS


def test_files_that_pages_name_exist():
    for page, text in PAGES.items():
        linked = [page.parent / path for path in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in path]
        named = re.findall(r"`((?:mpdit|workflow|benchmarks|profiles|results/example)/[\w./-]+\.\w+)`", text)
        named += re.findall(r"--configfile[= ]((?:workflow|tests)/[\w./-]+)", text)
        for path in linked + [ROOT / name for name in named]:
            assert path.is_file(), f"{page}: {path}"


def test_verbs_that_pages_name_exist():
    named = {verb for text in PAGES.values() for verb in re.findall(r"(?:^|`)mpdit (\w+)", text, re.MULTILINE)}
    assert len(named) > 4 and named <= set(VERBS)
    assert not any("python -m mpdit " in text for text in PAGES.values())


def test_options_of_snakemake_that_swallow_what_follows_have_an_equals_sign():
    for page, text in PAGES.items():
        assert not re.search(r"--(configfile|resources) [^-\s]", text), page


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES.keys() - {ROOT / "README.md"}:
        assert str(page.relative_to(ROOT / "docs")) in navigation, page


def test_a_trained_model_loads_in_three_lines(tmp_path):
    saved = mpdit.create_model("DiT-Nano/4", input_size=8, in_channels=1, num_classes=10, seed=0)
    saved.save_pretrained(tmp_path)
    (code,) = (block for block in blocks("python", "docs/how-to/everyday.md") if "from_pretrained" in block)
    assert len([line for line in code.splitlines() if line]) == 3
    names = {"x": torch.randn(2, 1, 8, 8), "t": torch.tensor([3, 900]), "y": torch.tensor([1, 10])}
    exec(code.replace("results/runs/<run>", str(tmp_path)), names)
    assert names["output"].shape == (2, 2, 8, 8)
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(names["model"].parameters(), saved.parameters(), strict=True)
    )


def test_the_figure_in_five_lines_is_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "ARTIFACTS", {})
    (code,) = (block for block in blocks("python", "docs/how-to/extend.md") if "@figure" in block)
    assert len(code.splitlines()) <= 5
    exec(code, {"figure": registry.figure, "style": style})
    runs = pd.DataFrame({"config": ["A", "E"], "images_per_second": [10.0, 9.0]})
    artifacts.render(registry.ARTIFACTS["speed"], {"runs": runs}, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 1000
    assert (tmp_path / "speed.pdf").stat().st_size > 1000
