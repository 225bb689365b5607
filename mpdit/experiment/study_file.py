"""A study's own Python file, `study.py`: run once in a process, and known by its hash.

What it registers is used by name; its code enters no names of runs. It is run only where it is named: by `study:` of a
configuration, by `--study`, or by `study=` in Python. A file that merely lies in an imported folder never is.
"""

import hashlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ..system.errors import UserError

Key = TypeVar("Key")
Value = TypeVar("Value")

_REGISTRIES: list[dict[Any, Any]] = []


def registry(entries: dict[Key, Value]) -> dict[Key, Value]:
    """The dictionary itself, now one whose entries are taken back where a study's file fails half-way."""
    _REGISTRIES.append(entries)
    return entries


def registered() -> list[set[Any]]:
    """The keys of all registries, for `take_back`."""
    return [set(entries) for entries in _REGISTRIES]


def take_back(before: list[set[Any]]) -> None:
    """Remove what has been added since `registered` was called to the registries that there were then."""
    for entries, kept in zip(_REGISTRIES, before, strict=False):
        for key in entries.keys() - kept:
            del entries[key]


_LOADED: dict[Path, str] = registry({})  # absolute path: SHA-256 of the text that was run


def load_study(path: str | Path) -> None:
    """Run a study's file, so that what it registers is known. Does nothing if this process has run it already.

    Raises UserError, one line that names the file and the line of its code, for a file that cannot be run, that imports
    torch outside of functions, and for one that has changed since this process ran it.
    """
    file = Path(path).resolve()
    try:
        text = file.read_bytes()
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"study: {path}: {problem}; expected the Python file of the study") from None
    digest = hashlib.sha256(text).hexdigest()
    if file in _LOADED:
        if _LOADED[file] != digest:
            raise UserError(f"study: {path}: has changed since this process ran it; start Python again")
        return
    before = registered()
    module = ModuleType("mpdit_study")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look up the module of their class
    _LOADED[file] = digest
    try:
        with _torch_refused():
            exec(compile(text, str(file), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        message = failure_in_study(error) or f"{path}: {error}"
        take_back(before)
        raise UserError(message) from None


def with_study(configuration: object, folder: str | Path) -> Any:
    """Load the file that `study:` of a configuration names, relative to the configuration's `folder`.

    Returns the configuration with that path as seen from the working folder. Raises UserError as `load_study` does.
    """
    if not isinstance(configuration, Mapping) or not isinstance(configuration.get("study"), str):
        return configuration
    path = os.path.relpath(Path(folder, configuration["study"]))
    load_study(path)
    return {**configuration, "study": path}


def study_hash() -> str | None:
    """SHA-256 of the file that this process has loaded; None without one. Several files give a hash of theirs."""
    if len(_LOADED) > 1:
        return hashlib.sha256("".join(sorted(_LOADED.values())).encode()).hexdigest()
    return next(iter(_LOADED.values()), None)


def line_of_study(file: str | Path, line: int) -> str:
    """A line of a study's file as messages name it: `study.py, line 12`."""
    path = Path(file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}, line {line}"


def failure_in_study(error: BaseException) -> str | None:
    """One line for an error that was raised while code of a study ran: where in its file, and what happened.

    None where no frame of the error is in a study's file.
    """
    files = {str(file) for file in _LOADED}
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):  # which the compiler finds before there is a frame
        frames.append((error.filename or "", error.lineno))
    own = [frame for frame in frames if frame[0] in files]
    if not own:
        return None
    where = line_of_study(own[-1][0], own[-1][1] or 1)
    text = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, UserError):
        return f"{where}: {text}"
    return f"{where}: {type(error).__name__}{f': {text}' if text else ''}"


@contextmanager
def _torch_refused() -> Iterator[None]:
    """Within this context `import torch` fails, unless it has been imported before."""
    refusal = _TorchRefusal()
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


class _TorchRefusal:
    """An import finder that refuses torch."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torch":
            raise UserError(
                "imports torch, which takes seconds each time Snakemake reads the file; expected the import inside the "
                "functions that need it"
            )
        return None
