"""Files stay short, and tests mirror the modules that they test."""

import ast
import re

from helpers.source_tree import ROOT, module_files

LONGEST = 300  # lines; a longer module says why in its docstring, in a sentence that begins with "One file because"

# Tests of no single module, in folders of their own or beside the package whose behavior they hold.
OF_NO_MODULE = {
    "tests/docs/test_contributing.py", "tests/docs/test_readme.py", "tests/docs/test_readme_commands.py",
    "tests/structure/test_stage_imports.py",
    "tests/commands/test_faults.py",
    "tests/fuzz/test_fuzz.py", "tests/structure/test_files.py", "tests/structure/test_imports.py",
    "tests/workflow/test_workflow.py", "tests/workflow/test_slurm.py", "tests/workflow/test_encode.py",
    "tests/workflow/test_heldout.py", "tests/workflow/test_tune.py", "tests/workflow/test_study.py",
    "tests/experiment/test_shipped_configurations.py",
    "tests/model/test_config_a_is_dit.py", "tests/model/test_config_e_textbook.py", "tests/model/test_golden.py",
    "tests/model/test_initialization.py", "tests/model/test_precision.py",
    "tests/data/test_imagenet.py", "tests/training/test_torture.py",
}  # fmt: skip


def test_no_module_is_long_without_a_reason():
    long = {
        name
        for name, path in module_files().items()
        if len((text := path.read_text()).splitlines()) > LONGEST
        and not re.search(r"\bOne file because\b", ast.get_docstring(ast.parse(text)) or "")
    }
    assert not long, f"{sorted(long)}: split it, or begin a sentence of its docstring with 'One file because'"


def test_every_test_file_mirrors_a_module():
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    unmirrored = {name for name in files if not mirrored(name)} - OF_NO_MODULE
    assert not unmirrored, f"{sorted(unmirrored)}: no module of the package or of benchmarks/ has this name"
    assert not OF_NO_MODULE - files, f"{sorted(OF_NO_MODULE - files)}: no such test"


def mirrored(test: str) -> bool:
    """Whether tests/<folder>/test_<module>.py has its mpdit/<folder>/<module>.py or benchmarks/<module>.py."""
    module = test.removeprefix("tests/").replace("test_", "", 1)
    return (ROOT / "mpdit" / module).is_file() or (ROOT / module).is_file()


def test_no_test_imports_another_test():
    mistakes = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            mistakes += [
                f"{path.relative_to(ROOT)}, line {node.lineno}: imports {name}"
                for name in names
                if re.search(r"(^|\.)(test_\w+|tests|conftest)(\.|$)", name)
            ]
            if isinstance(node, ast.ImportFrom) and node.level and path.parent.name != "helpers":
                mistakes.append(f"{path.relative_to(ROOT)}, line {node.lineno}: imports relatively")
    assert mistakes == []
