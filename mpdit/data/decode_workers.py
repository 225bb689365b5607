"""Pictures read, decoded, resized and cropped in worker processes, in the source's order, a bounded number ahead."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice, takewhile
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from threading import Thread

from ..experiment.schema import Data
from ..system.errors import UserError
from .pictures import Picture
from .sources import PictureSource, read_pictures

CHUNKS_AHEAD = 2  # per worker, including the one it works on
CHECK_INTERVAL = 1.0  # seconds between calls of `check` while waiting for workers


def decoded_chunks(
    source: PictureSource,
    data: Data,
    chunks: Sequence[range],
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[list[Picture]]:
    """The pictures of each chunk of indices, as `read_pictures` gives them, chunk by chunk in the given order.

    `workers` processes decode (0: this process does), each at most CHUNKS_AHEAD chunks ahead of the one that is
    consumed. `check` is called between chunks and while waiting; it raises an exception to stop. Raises UserError for
    the first broken picture in order, and when a worker dies. No worker outlives the iteration or this process, however
    either ends.
    """
    if workers == 0:
        for chunk in chunks:
            check()
            yield list(read_pictures(source, data, chunk))
        return
    remaining = iter(chunks)
    context = get_context("spawn")  # a fork of a process with threads or a GPU may hang
    stopped = context.Event()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (source, data, stopped))
    try:
        pending = deque(_submit(pool, chunk) for chunk in islice(remaining, CHUNKS_AHEAD * workers))
        while pending:
            pictures = _wait(pending.popleft(), check)
            pending.extend(_submit(pool, chunk) for chunk in islice(remaining, 1))
            yield pictures
    except BrokenProcessPool:
        check()  # what killed the worker may have been meant for all processes
        raise UserError(
            "a worker process died (killed, or out of memory); finished work is kept: "
            "run again, with fewer --workers if memory is short"
        ) from None
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, chunk: range) -> "Future[list[Picture]]":
    with _interrupts_blocked():  # workers start here and inherit this, so that only the parent handles Ctrl-C
        return pool.submit(_decode, chunk)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _wait(future: "Future[list[Picture]]", check: Callable[[], None]) -> list[Picture]:
    check()
    while not wait([future], CHECK_INTERVAL).done:
        check()
    return future.result()


# ---------------------------------------------------------------------------------------------------------------------
# In a worker

_task: tuple[PictureSource, Data, Event]


def _start_worker(source: PictureSource, data: Data, stopped: Event) -> None:
    global _task
    _task = source, data, stopped
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when its parent ends, SIGKILL included; otherwise it would wait for work forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _decode(chunk: range) -> list[Picture]:
    source, data, stopped = _task
    pictures = read_pictures(source, data, chunk)
    return list(takewhile(lambda _: not stopped.is_set(), pictures))  # after a stop nobody reads the result
