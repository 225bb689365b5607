"""The modules of the package as files: their names, what each imports, and when."""

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mpdit"


@dataclass(frozen=True)
class Import:
    """One import of a module of this package by another."""

    importer: str
    imported: str
    line: int
    at_import: bool  # False inside a function and under `if TYPE_CHECKING:`

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


def module_files() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    return {_dotted_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_within_package() -> list[Import]:
    """Every import of one module by another, lazy ones included."""
    files = module_files()
    return [
        Import(name, imported, line, at_import)
        for name, path in files.items()
        for imported, line, at_import in _imports(name, path, files)
    ]


def _dotted_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, path: Path, files: dict[str, Path]) -> list[tuple[str, int, bool]]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node, at_import in _statements(ast.parse(path.read_text()), True):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in files else base for alias in node.names]
        found += [(target, node.lineno, at_import) for target in dict.fromkeys(targets) if target in files]
    return found


def _statements(node: ast.AST, at_import: bool):
    """Every import statement under a node, and whether it is executed when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_import
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, False)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.body:
                yield from _statements(ast.Module([statement], []), False)
            for statement in child.orelse:
                yield from _statements(ast.Module([statement], []), at_import)
        else:
            yield from _statements(child, at_import)
