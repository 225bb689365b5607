"""What a command prints, also written to a file, so that Snakemake can show the log of a job that failed.

A pipe to `tee` would do the same, but it dies of Ctrl-C before the command does, loses what the command prints while
it saves, and stands between the command and Snakemake's signals.
"""

import io
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from .errors import UserError


@contextmanager
def output_copied_to(path: Path | None) -> Iterator[None]:
    """Within this context whatever Python prints is appended to the file as well; with None nothing changes.

    The traceback of an exception that leaves the context is appended, too. Only opening the file can fail (UserError):
    where a later write does (a full disk), the command goes on without it.
    """
    if path is None:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise UserError(f"--log: {path}: {error.strerror}: must be a file that can be written") from None
    with file, redirect_stdout(_Copied(sys.stdout, file)), redirect_stderr(_Copied(sys.stderr, file)):
        try:
            yield
        except Exception:
            with suppress(OSError):
                file.write(traceback.format_exc().encode())
            raise


class _Copied(io.TextIOBase):
    """A text stream that also writes to a file."""

    def __init__(self, stream: TextIO, file: io.FileIO):
        self._stream, self._file = stream, file

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._file.write(text.encode("utf-8", "replace"))
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        self.write("".join(lines))

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
