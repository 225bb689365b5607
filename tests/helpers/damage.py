"""Changes to files of results: damage, as disks and accidents do it, and other content that is sealed."""

from pathlib import Path
from typing import Any

from mpdit.system.files import read_json, write_json


def flip_bit(path: Path, position: int | None = None) -> None:
    """Change one bit of a file: of the byte at `position`, or of the one in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 4
    path.write_bytes(content)


def cut_line(path: Path, line: int) -> None:
    """Take a line out of a text, counted from 0."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:line] + lines[line + 1 :]))


def rewrite_json(path: Path, **changes: Any) -> None:
    """Replace fields of a JSON file, or with `...` remove them, and seal it as mpdit would."""
    values = {**read_json(path), **changes}
    write_json(path, {key: value for key, value in values.items() if value is not ...})
