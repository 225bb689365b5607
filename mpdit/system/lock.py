"""A lock that keeps two processes off one run, and that the kernel releases when its holder dies, however it dies."""

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError

WAIT = 60.0  # seconds: long enough for an orphaned trainer to notice, save and leave


@contextmanager
def exclusive(path: str | Path, wait: float = WAIT, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock file `path`, which names this host and process while it is held.

    Waits up to `wait` seconds for another holder, saying so once; then UserError naming that holder. The file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline, told = time.monotonic() + wait, False
        while not _acquire(handle, path, say):
            if time.monotonic() >= deadline:
                raise UserError(
                    f"{path}: held by {_owner(handle)} for more than {wait:g} s: must be free; "
                    f"wait until that process ends, or stop it"
                )
            if not told:
                told = True
                say(f"waits up to {wait:g} s for {_owner(handle)}, which holds this run")
            time.sleep(min(0.2, wait / 10))
        _write(handle, f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
        _write(handle, "")
    finally:
        os.close(handle)  # which releases it


def holder(path: str | Path) -> str | None:
    """Who holds the lock, as "process PID on HOST"; None when nobody does. Never takes it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _owner(handle)
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, say: Callable[[str], None]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some cluster file systems are mounted without locks
        say(f"{path}: this file system keeps no locks ({error.strerror}): see to it that one process trains this run")
    return True


def _owner(handle: int) -> str:
    return os.pread(handle, 500, 0).decode(errors="replace").strip() or "another process"


def _write(handle: int, text: str) -> None:
    with suppress(OSError):  # a full disk: the lock holds all the same, only without a name
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)
