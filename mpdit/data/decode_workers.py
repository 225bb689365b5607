"""Pictures read, decoded, resized and cropped in worker processes, in the source's order, a bounded number ahead.

Each worker has a pipe of its own, at whose other end a thread of this process waits. Nobody else holds the worker's
end, so when a worker dies, even halfway through a message, its thread reads the end of the pipe. In a queue that all
workers share, such as that of `ProcessPoolExecutor`, the rest of the message would be awaited forever.
"""

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
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
    with _Pool(source, data, workers) as pool:
        try:
            pending = deque(_submit(pool, chunk) for chunk in islice(remaining, CHUNKS_AHEAD * workers))
            while pending:
                pictures = _wait(pending.popleft(), check)
                pending.extend(_submit(pool, chunk) for chunk in islice(remaining, 1))
                yield pictures
        except _WorkerDied as death:
            check()  # what killed the worker may have been meant for all processes
            raise UserError(
                f"a worker process died ({death}); finished work is kept: "
                "run again, with fewer --workers if memory is short"
            ) from None


def _wait(future: "Future[list[Picture]]", check: Callable[[], None]) -> list[Picture]:
    check()
    while not wait([future], CHECK_INTERVAL).done:
        check()
    return future.result()


class _WorkerDied(Exception):
    """The message says how."""


class _Worker:
    """One worker process, which decodes a chunk at a time."""

    def __init__(self, source: PictureSource, data: Data):
        self.task = source, data
        self.knows_task = False
        self.pipe, theirs = context.Pipe()
        # The listing of a large source exceeds what a pipe holds. `start` would wait for a worker that has died to read
        # it, so the pipe carries it.
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        with _interrupts_blocked():  # which the worker inherits, so that only the parent handles Ctrl-C
            self.process.start()
        theirs.close()

    def decode(self, chunk: range) -> list[Picture]:
        """The pictures of a chunk. Raises _WorkerDied, and whatever reading a picture raises."""
        try:
            if not self.knows_task:
                self.pipe.send(self.task)
                self.knows_task = True
            self.pipe.send(chunk)
            result = self.pipe.recv()
        except (EOFError, OSError):
            raise _WorkerDied(self._cause_of_death()) from None
        if isinstance(result, Exception):
            raise result
        return result

    def _cause_of_death(self) -> str:
        self.process.join()
        status = self.process.exitcode
        if status == -signal.SIGKILL:
            return "killed, or out of memory"
        return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


class _Pool:
    """Worker processes, each with a thread that waits for it. Leaving the context kills them: they only read."""

    def __init__(self, source: PictureSource, data: Data, workers: int):
        self.workers = [_Worker(source, data) for _ in range(workers)]
        self.idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.kill()  # ends what its thread waits for
        self.threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()

    def decode(self, chunk: range) -> list[Picture]:
        worker = self.idle.get()  # there are as many as threads
        try:
            return worker.decode(chunk)
        finally:
            self.idle.put(worker)


def _submit(pool: _Pool, chunk: range) -> "Future[list[Picture]]":
    return pool.threads.submit(pool.decode, chunk)


context = get_context("spawn")  # a fork of a process with threads or a GPU may hang


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    resource_tracker.ensure_running()  # now: when it starts, it unblocks interrupts
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


# ---------------------------------------------------------------------------------------------------------------------
# In a worker


def _work(pipe: Connection) -> None:
    Thread(target=_exit_with_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the parent has ended
        source, data = pipe.recv()
        while True:
            chunk = pipe.recv()
            try:
                pipe.send(list(read_pictures(source, data, chunk)))
            except UserError as error:
                pipe.send(error)
            except ConnectionError:
                raise
            except Exception as error:
                error.add_note(f"In a worker process:\n{traceback.format_exc()}")
                pipe.send(error)


def _exit_with_parent() -> None:
    """End this process when its parent ends, SIGKILL included; otherwise it would decode its chunk to the end."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
