"""Copy what a command prints to a file, so that Snakemake can show the log of a failed job.

A pipe to `tee` would do the same, but Ctrl-C ends it before the command, so that what the command prints while it saves
is lost, and it separates the command from Snakemake's signals.
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
    """Within this context, also append to the file whatever Python prints; with None, do nothing.

    The traceback of an exception that leaves the context is appended as well. Raises UserError if the file cannot be
    opened; if a later write fails, because the disk is full, the command goes on without it.
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
