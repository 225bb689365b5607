"""A lock that keeps two processes from working on one run; the kernel releases it when its holder ends, however."""

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError

WAIT = 60.0  # seconds: long enough for an orphaned trainer to notice, save and exit


@contextmanager
def exclusive(path: str | Path, wait: float = WAIT, report: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock on the file `path`, which contains this process and host for as long as the lock is held.

    Waits up to `wait` seconds for another holder and reports so once. Raises UserError, naming the holder, if the lock
    is not free by then. The file is not removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline, reported = time.monotonic() + wait, False
        while not _acquire(descriptor, path, report):
            if time.monotonic() >= deadline:
                raise UserError(
                    f"{path}: held by {_owner(descriptor)} for more than {wait:g} s; wait until that process ends, "
                    f"or stop it"
                )
            if not reported:
                reported = True
                report(f"waiting up to {wait:g} s for {_owner(descriptor)}, which holds this run")
            time.sleep(min(0.2, wait / 10))
        _write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
        _write(descriptor, "")
    finally:
        os.close(descriptor)  # which releases the lock


def holder(path: str | Path) -> str | None:
    """The holder of the lock as "process PID on HOST", or None if nobody holds it. Does not take the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _owner(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, report: Callable[[str], None]) -> bool:
    """Try once to lock the file; True, with a warning, on file systems that have no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some cluster file systems are mounted without locks
        report(
            f"{path}: this file system does not support locks ({error.strerror}); make sure that only one process "
            f"works on this run"
        )
    return True


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 500, 0).decode(errors="replace").strip() or "another process"


def _write(descriptor: int, text: str) -> None:
    with suppress(OSError):  # if the disk is full, the lock still holds, without a name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
