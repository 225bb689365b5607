"""Why a trainer should stop early: it was told to by a signal, or the Snakemake that started it has died."""

import signal
import time
from collections.abc import Sequence
from pathlib import PurePath

import psutil

STATUS = 75  # EX_TEMPFAIL of sysexits.h: stopped, nothing lost, try again (Snakemake does, where `retries` is set)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOOK_EVERY = 2.0  # seconds between looks at Snakemake


def snakemake_ancestors() -> list[psutil.Process]:
    """The Snakemake processes that this one descends from; none for a trainer started by hand or by a scheduler.

    Being handed to another parent would not tell: a shell stands between and outlives Snakemake.
    """
    return [process for process in psutil.Process().parents() if _is_snakemake(process)]


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()[:4]  # snakemake ..., python [-u] snakemake ..., python [-u] -m snakemake ...
    except psutil.Error:
        return False
    return any(PurePath(word).name == "snakemake" or word.endswith("snakemake/__main__.py") for word in words)


class Interrupted(Exception):
    """Raised by `Interruption.check`; its message is the reason."""


class Interruption:
    """Within this context signals no longer kill; `reason()` says what asks for a stop, in words, or None."""

    def __init__(self, ancestors: Sequence[psutil.Process] = ()):
        self._ancestors = ancestors
        self._reason: str | None = None
        self._next_look = 0.0
        self._previous = {}

    def __enter__(self):
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and background jobs are left as they are
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number, _frame):
        self._reason = f"{signal.Signals(number).name} received"

    def check(self) -> None:
        """Raise Interrupted if something asks for a stop."""
        if reason := self.reason():
            raise Interrupted(reason)

    def reason(self) -> str | None:
        if self._reason is None and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY
            if any(_is_gone(process) for process in self._ancestors):
                self._reason = "the Snakemake that started this process has died"
        return self._reason


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
