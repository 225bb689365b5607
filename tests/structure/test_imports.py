"""Packages import downward only, modules never in a circle, and what Snakemake parses stays light."""

import re
import subprocess
import sys

import pytest
from helpers.source_tree import ROOT, imports_within_package, module_files

FLOORS = [  # from the top; a package imports from itself and from those below it
    "commands", "registrations", "paper", "study", "rendering", "planning", "results", "evaluation", "training",
    "data", "model", "experiment", "system",
]  # fmt: skip
FACADE = {
    "mpdit",
    "mpdit.__main__",
    "mpdit.pipeline",
}  # entry points; nothing below imports more of them than a version
HEAVY = ("torch", "matplotlib", "pandas", "numpy", "scipy", "PIL")
LIGHT = ("system", "experiment", "results", "planning", "rendering", "study", "paper")
TORCH_FLOORS = ("evaluation", "training", "data", "model")
WITH_TORCH = {"mpdit.system.device", "mpdit.system.seeds"}


def floor(module: str) -> str:
    return module.split(".")[1]


def test_every_package_has_its_floor():
    packages = {floor(name) for name in module_files() if name not in FACADE}
    assert packages <= set(FLOORS)


def test_packages_import_only_from_those_below():
    upward = {
        (found.importer, found.imported): str(found)
        for found in imports_within_package()
        if found.importer not in FACADE
        and (
            found.imported in FACADE - {"mpdit"}
            or (found.imported != "mpdit" and FLOORS.index(floor(found.imported)) < FLOORS.index(floor(found.importer)))
        )
    }
    assert not upward, "\n".join(upward.values())


def test_no_modules_import_each_other_in_a_circle():
    below: dict[str, set[str]] = {name: set() for name in module_files()}
    for found in imports_within_package():
        if found.at_import and found.importer != found.imported:
            below[found.importer].add(found.imported)
    circle = find_circle(below)
    assert circle is None, " -> ".join(circle)


def find_circle(graph: dict[str, set[str]]) -> list[str] | None:
    """A path of a directed graph that ends where it begins, or None."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for successor in sorted(graph[node]):
            if circle := visit(successor, [*path, node]):
                return circle
        done.add(node)
        return None

    return next((circle for node in graph if (circle := visit(node, []))), None)


def test_a_circle_is_found():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def loaded_by(*modules: str) -> set[str]:
    """The heavy libraries that a fresh interpreter has loaded after importing these modules."""
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", LIGHT)
def test_torch_free_packages_load_no_heavy_library_when_imported(package):
    modules = [name for name in module_files() if name.startswith(f"mpdit.{package}") and name not in WITH_TORCH]
    assert loaded_by(*modules) == set()


def test_torch_free_packages_import_no_torch_and_no_package_that_does():
    """Not inside functions either: `mpdit status` and `mpdit render` answer before torch would be loaded."""
    free = {
        name
        for name in module_files()
        if name not in FACADE | WITH_TORCH and floor(name) in LIGHT and floor(name) != "planning"
    }
    mistakes: dict[str, list[str]] = {}
    for found in imports_within_package():
        of_torch = found.imported in WITH_TORCH or floor(found.imported + ".") in TORCH_FLOORS
        if found.importer in free and of_torch:
            mistakes.setdefault(found.importer, []).append(str(found))
    for name in free:
        if re.search(r"^\s*(import torch|from torch)\b", module_files()[name].read_text(), re.MULTILINE):
            mistakes.setdefault(name, []).append(f"{name}: imports torch")
    assert not mistakes, mistakes


def test_heavy_libraries_are_noticed():
    assert "numpy" in loaded_by("numpy")
