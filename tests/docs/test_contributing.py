"""CONTRIBUTING.md names files and lines that are there."""

import re

import pytest
from helpers.source_tree import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ANSWERS = re.findall(r"^\| (\w.*\?) \| \[(\S+)\]\(\S+\) \| (\d+) \| `(.+)` \|$", TEXT, re.MULTILINE)


def test_ten_questions_are_answered():
    assert len(ANSWERS) == 10


@pytest.mark.parametrize(("question", "file", "line", "code"), ANSWERS, ids=[question for question, *_ in ANSWERS])
def test_the_line_that_answers_a_question_is_right(question, file, line, code):
    lines = (ROOT / file).read_text().splitlines()
    right = [number for number, text in enumerate(lines, start=1) if text.strip().startswith(code)]
    assert int(line) in right, f"CONTRIBUTING.md: {question}: {file}: line {line} is not {code!r}, which is on {right}"


def test_files_that_it_names_exist():
    linked = re.findall(r"\]\(([^)#]+)\)", TEXT)
    named = re.findall(r"`((?:mpdit|tests|benchmarks|\.ci)/[\w./-]+)`", TEXT)
    assert [path for path in linked + named if not path.startswith("http") and not (ROOT / path).exists()] == []
