"""The command line: its help, its version, and how it reports mistakes."""

import errno
import importlib
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mpdit
from mpdit import commands
from mpdit.__main__ import VERBS, main
from mpdit.system.errors import UserError

ROOT = str(Path(__file__).parents[1])


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"mpdit {mpdit.__version__}\n"
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert mpdit.__version__ == project.get("version", mpdit.__version__)


def test_every_command_has_a_line_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert out.startswith("usage: mpdit [-h]")
    assert all(f"\n    {verb}" in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_command_calls_it_mpdit(capsys, verb):
    with pytest.raises(SystemExit) as exit:
        main([verb, "--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: mpdit {verb} ")
    assert "python -m mpdit" not in out


def test_every_command_is_a_module_of_commands():
    modules = {name for _, name, _ in pkgutil.iter_modules(commands.__path__)}
    assert set(VERBS) <= modules
    for name in modules - set(VERBS):  # helpers of commands are no commands
        assert not hasattr(importlib.import_module(f"mpdit.commands.{name}"), "add_arguments")


def test_each_mistake_is_printed_on_a_line_of_its_own(capsys, monkeypatch):
    def fail(args):
        raise UserError(
            "training.lr: expected a positive number, got 'fast'\ntraining.steps: expected at least 1, got 0"
        )

    monkeypatch.setattr("mpdit.commands.status.main", fail)
    assert main(["status"]) == 2
    assert capsys.readouterr().err == (
        "mpdit status: training.lr: expected a positive number, got 'fast'\n"
        "mpdit status: training.steps: expected at least 1, got 0\n"
    )


def test_the_help_loads_no_torch():
    code = "import sys; sys.argv = ['mpdit', '--help']; from mpdit.__main__ import main\n"
    code += "try: main()\nexcept SystemExit: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_part_that_fails_is_one_line_with_its_file_and_line(registries, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = 'from mpdit import study\n\n@study.modulation("own", version=1)\ndef own(context):\n    return BODY\n'
    words = ["describe", "DiT-Nano/4", "--modulation", "own", "--no-magnitudes"]
    made = "from mpdit.model.modulation import Modulation\n\n    return Modulation(*arguments)\n"
    for name, body, line in (
        ("a", "1 / 0", "a.py, line 5: ZeroDivisionError: division by zero"),
        ("b", "made({'scale': 1}, lambda x, heads, base: x @ heads[0])", "does not run: b.py, line 5: RuntimeError: "),
        ("d", "None", "d.py, line 3) does not run: AttributeError: 'NoneType' object has no attribute 'heads'"),
        ("c", "made({'scale': 1}, lambda x, heads, base: x[:, 1:])", "own (version 1, c.py, line 3) does not run: "),
    ):
        code = text.replace("own", f"own_{name}").replace("BODY", body)
        Path(f"{name}.py").write_text(f"{code}\n\ndef made(*arguments):\n    {made}")
        words[3] = f"own_{name}"
        capsys.readouterr()
        assert main([*words, "--study", f"{name}.py"]) == 2
        printed = capsys.readouterr().err
        assert line.replace("own ", f"own_{name} ") in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x.csv"), 1, "x.csv: no space left on device"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (OSError("5 requested and 0 written"), 1, "5 requested and 0 written"),  # NumPy's, on a full disk
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 1, "x: is a folder, not a file"),
        (OSError(errno.ENOSPC, "No space left on device", "a", None, "b"), 1, "a -> b: no space left on device"),
        (MemoryError(), 1, "out of memory"),
    ],
)
def test_what_the_system_refuses_is_one_line(capsys, monkeypatch, error, status, message):
    def fail(args):
        raise error

    monkeypatch.setattr("mpdit.commands.status.main", fail)
    assert main(["status"]) == status
    assert capsys.readouterr().err == f"mpdit status: {message}\n"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["importlib.import_module", "mpdit.commands.status.main"])
def test_ctrl_c_is_no_traceback_even_while_a_command_is_imported(capsys, monkeypatch, place):
    main(["status", "--runs", "nowhere"])
    capsys.readouterr()
    monkeypatch.setattr(place, interrupt)
    assert main(["status"]) == 130
    assert capsys.readouterr() == ("", "")


def test_nothing_slow_is_imported_before_ctrl_c_is_handled():
    code = "import mpdit.__main__, sys; print('argparse' in sys.modules, 'pathlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({ROOT!r}); {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "False False\n"


def run_in_shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `mpdit ...` in a shell, in this folder, which has no runs."""
    line = command.replace("mpdit", f"{sys.executable} -m mpdit")
    variables = {**os.environ, "PYTHONPATH": ROOT, **environment}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize("environment", [
    {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
])  # fmt: skip
def test_a_terminal_without_a_character_gets_its_code(tmp_path, environment):
    done = run_in_shell("mpdit status --runs é", tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in ("\\xe9: no runs yet\n", "\\udcc3\\udca9: no runs yet\n")


@pytest.mark.parametrize(
    ("command", "status", "stderr"),
    [
        ("mpdit status > /dev/full", 1, "mpdit status: No space left on device\n"),
        ("mpdit status >&-", 0, ""),
        ("mpdit status | true; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_an_output_that_takes_nothing_is_no_traceback(tmp_path, command, status, stderr):
    done = run_in_shell(command, tmp_path)
    assert (done.returncode, done.stderr) == (status, stderr)
