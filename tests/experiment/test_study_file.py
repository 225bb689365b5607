"""A study's file is run once where it is named; each of its mistakes is one line with its file and line."""

import subprocess
import sys
from pathlib import Path

import pytest

from mpdit.experiment import parts, study_file
from mpdit.experiment.grid import read_experiment
from mpdit.system.errors import UserError

pytestmark = pytest.mark.usefixtures("registries")
ROOT = Path(__file__).parents[2]
PART = 'from mpdit import study\n\n@study.norm("own", version=1)\ndef own(context):\n    return abs\n'
CONFIGURATION = """
data: {name: digits, source: mnist, resolution: 8}
learning_rates: {E: 0.01}
experiments:
  own: {model: DiT-Nano/4, config: E, modulation: MODULATION, seed: 0}
"""


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "study.py"


def test_a_file_is_run_once_and_known_by_its_hash(file):
    assert study_file.study_hash() is None
    file.write_text(PART)
    study_file.load_study("study.py")
    study_file.load_study(file)
    assert parts.find("norm", "own").source == "study.py, line 3"
    assert len(study_file.study_hash()) == 64


def test_a_file_that_has_changed_is_not_run_again(file):
    file.write_text(PART)
    study_file.load_study(file)
    file.write_text(PART + "# a comment\n")
    with pytest.raises(UserError, match=r"study\.py: has changed since this process ran it; start Python again"):
        study_file.load_study(file)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def broken(:\n", "study.py, line 1: SyntaxError: invalid syntax"),
        ("\nx = 1 / 0\n", "study.py, line 2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('no')\n", "study.py, line 2: SystemExit: no"),
        ("import no_such_package\n", "study.py, line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f():\n    raise KeyError\n\nf()\n", "study.py, line 2: KeyError"),
        (PART.replace("own", "layer"), "study.py, line 3: norm 'layer': the name is taken, by the package itself"),
        (PART + PART, "study.py, line 8: norm 'own': the name is taken, by study.py, line 3; choose another name"),
        (
            PART.replace("version=1", "version='1'"),
            "line 3: norm 'own': version: expected a whole number of at least 1",
        ),
        (
            PART.replace("(context)", "(context, eps)"),
            "study.py, line 3: norm 'own': expected a function of the context",
        ),
        (PART.replace("version=1", "version=1, eps=1"), "and of the options: got an unexpected keyword argument 'eps'"),
        (PART.replace(", version=1", ""), "study.py, line 3: TypeError: register() missing 1 required keyword-only"),
        (
            PART.replace("study.norm", "study.normalization"),
            "study.py, line 3: AttributeError: module 'mpdit.study' has",
        ),
        (
            'from mpdit import study\nstudy.claim("e_vs_a", "E wins.", None, "%")\n'
            'study.claim("e_vs_a", "E wins.", None, "%")\n',
            "study.py, line 3: e_vs_a: registered twice: each table, figure and claim needs a name of its own",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_registered(file, text, problem):
    file.write_text(text)
    with pytest.raises(UserError) as error:
        study_file.load_study(file)
    assert problem in str(error.value) and "\n" not in str(error.value)
    assert "own" not in parts.names("norm") and study_file.study_hash() is None
    file.write_text(PART)  # mended, it is run
    study_file.load_study(file)


def test_a_file_that_is_not_there_is_named(file):
    with pytest.raises(UserError, match=r"study: study\.py: no such file; expected the Python file of the study"):
        study_file.load_study("study.py")


def test_torch_is_refused_outside_of_functions(file):
    """In a process of its own, as torch may not be imported before."""
    file.write_text(PART + "import mpdit.model.layers\n")
    code = "from mpdit.experiment.study_file import load_study\nload_study('study.py')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, cwd=file.parent)
    assert done.stderr.splitlines()[-1].endswith(
        "study.py, line 6: imports torch, which takes seconds each time Snakemake reads the file; expected the import "
        "inside the functions that need it"
    )


def test_a_configuration_runs_the_file_beside_it(file):
    file.write_text(PART.replace("norm", "modulation"))
    folder = file.parent / "elsewhere"
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text("study: ../study.py" + CONFIGURATION.replace("MODULATION", "[scale, own]"))
    experiment = read_experiment(path)
    assert experiment.study == experiment.configuration["study"] == "study.py"  # as seen from here
    scale, own = experiment.runs.values()
    assert scale.parts == {} and own.parts == {"modulation": {"name": "own", "version": 1}}
    assert own.to_json()["parts"] == own.parts and "parts" not in scale.to_json()


def test_a_file_that_no_configuration_names_is_not_run(file):
    file.write_text("raise SystemExit('run')\n")
    (file.parent / "config.yaml").write_text(CONFIGURATION.replace("MODULATION", "scale"))
    experiment = read_experiment(file.parent / "config.yaml")
    assert experiment.study is None and "study" not in experiment.configuration
