"""Large files are read once to compare them with their seals: not again while their size and time stay the same.

What was checked is remembered beside the file, in `.NAME.checked`. `mpdit verify` reads everything anew.
"""

from contextlib import suppress
from pathlib import Path

SMALLEST = 2**26  # bytes; smaller files are read each time


def was_checked(path: Path, seal: str) -> bool:
    """Whether the file was found to agree with this seal, and has not changed its size or time since."""
    try:
        state = _state(path, seal)
        return state is not None and _record(path).read_text() == state
    except (OSError, ValueError):
        return False


def record_check(path: Path, seal: str) -> None:
    """Remember that a file agrees with this seal, if it is large."""
    with suppress(OSError):  # in a folder that cannot be written, the file is read again next time
        state = _state(path, seal)
        if state is not None:
            _record(path).write_text(state)


def _record(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _state(path: Path, seal: str) -> str | None:
    """What must stay the same; None for a small file."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {seal}\n" if status.st_size >= SMALLEST else None
