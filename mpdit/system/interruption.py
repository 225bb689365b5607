"""Reasons for a long-running command to stop early: a signal, or the death of the Snakemake that started it."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from types import FrameType
from typing import Any, Self

import psutil

STATUS = 75  # EX_TEMPFAIL of sysexits.h: stopped, nothing lost, try again (as Snakemake does if `retries` is set)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
POLL_INTERVAL = 2.0  # seconds between checks on Snakemake


def snakemake_ancestors() -> list[psutil.Process]:
    """The Snakemake processes among this process's ancestors; none if it was started by hand or by a scheduler.

    Watching for a new parent instead would not do: the shell between Snakemake and this process outlives Snakemake.
    """
    return [process for process in psutil.Process().parents() if _is_snakemake(process)]


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()[:4]  # snakemake ..., python [-u] snakemake ..., python [-u] -m snakemake ...
    except psutil.Error:
        return False
    return any(PurePath(word).name == "snakemake" or word.endswith("snakemake/__main__.py") for word in words)


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Within this context Ctrl-C ends this process at once and in silence, which shells report as status 130.

    For imports of libraries in C++, such as torch: they abort where Python raises KeyboardInterrupt inside them.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, as under nohup
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Interrupted(Exception):
    """Raised by `Interruption.check`; its message is the reason."""


class Interruption:
    """A context in which SIGTERM, SIGINT and SIGHUP are recorded instead of killing the process.

    `reason()` and `check()` report the first signal, or the death of one of `ancestors`.
    """

    def __init__(self, ancestors: Sequence[psutil.Process] = ()) -> None:
        self._ancestors = ancestors
        self._reason: str | None = None
        self._next_poll = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup and in background jobs: leave it
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._reason = f"{signal.Signals(number).name} received"

    def check(self) -> None:
        """Raise Interrupted if there is a reason to stop."""
        if reason := self.reason():
            raise Interrupted(reason)

    def reason(self) -> str | None:
        """The reason to stop in words, such as "SIGTERM received", or None."""
        if self._reason is None and time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + POLL_INTERVAL
            if any(_is_gone(process) for process in self._ancestors):
                self._reason = "the Snakemake that started this process has died"
        return self._reason


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
