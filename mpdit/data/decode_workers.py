"""Pictures read, decoded, resized and cropped in worker processes, in the source's order, a bounded number ahead."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice, takewhile
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from threading import Thread

from ..system.errors import UserError
from .pictures import Picture, Source, pictures

AHEAD = 2  # chunks a worker has before it, the one it works at included
LOOK_EVERY = 1.0  # seconds between looks at why one should stop, while workers are waited for


def decoded(
    source: Source, data: Mapping, chunks: Sequence[range], workers: int = 0, check: Callable[[], None] = lambda: None
) -> Iterator[list[Picture]]:
    """The pictures of each chunk of indices, as `images.pictures` gives them, chunk by chunk in the given order.

    `workers` processes decode (0: this one does), each at most AHEAD chunks before the one that is taken. `check` is
    called between chunks and while waiting: it raises to stop. UserError for a broken picture, the first in order, and
    when a worker dies. However the iteration ends, and however this process does, no worker outlives it.
    """
    if workers == 0:
        for chunk in chunks:
            check()
            yield list(pictures(source, data, chunk))
        return
    upcoming = iter(chunks)
    context = get_context("spawn")  # not fork: in a process with threads or a GPU that may hang
    ended = context.Event()
    pool = ProcessPoolExecutor(workers, context, _start, (source, data, ended))
    try:
        pending = deque(_submit(pool, chunk) for chunk in islice(upcoming, AHEAD * workers))
        while pending:
            result = _wait(pending.popleft(), check)
            pending.extend(_submit(pool, chunk) for chunk in islice(upcoming, 1))
            yield result
    except BrokenProcessPool:
        check()  # what ended the worker may have been meant for all
        raise UserError(
            "a worker process died (killed, or short of memory): what is finished stays; "
            "run again, with fewer --workers if memory is short"
        ) from None
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, chunk: range) -> Future:
    with _without_interrupts():  # workers, which start here, inherit this: Ctrl-C is the parent's affair
        return pool.submit(_decode, chunk)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(future: Future, check: Callable[[], None]) -> list[Picture]:
    check()
    while not wait([future], LOOK_EVERY).done:
        check()
    return future.result()


# In a worker

_work: tuple[Source, Mapping, Event]


def _start(source: Source, data: Mapping, ended: Event) -> None:
    global _work
    _work = source, data, ended
    Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process when its parent is gone, SIGKILL included; it would wait for work for ever."""
    parent_process().join()
    os._exit(1)


def _decode(chunk: range) -> list[Picture]:
    source, data, ended = _work
    return list(takewhile(lambda _: not ended.is_set(), pictures(source, data, chunk)))  # nobody waits once it has
