"""Reserve GPUs for a command on a machine without a scheduler: `python -m mpdit.system.gpus N COMMAND ...`.

The command runs with CUDA_VISIBLE_DEVICES set to N GPUs that no other command started this way is using; if too few
are free, it waits. The GPUs to choose from are those in CUDA_VISIBLE_DEVICES or, if that is not set, in the output of
`nvidia-smi -L`.

A GPU is reserved by locking a file. This process replaces itself with the command, which thereby holds the lock as
long as it runs; the kernel releases it when the command ends, however it ends. The workflow starts its jobs this way
if Snakemake is told the number of GPUs (`--resources gpu=4`). Commands started by hand share GPUs with everyone else.
"""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import UserError, in_one_line
from .interruption import STATUS, Interruption, snakemake_ancestors

LOCKS = Path(f"/tmp/mpdit-gpus-{os.getuid()}")  # the same for the whole machine, whatever TMPDIR is
POLL_INTERVAL = 1.0  # seconds between attempts to reserve GPUs, on average


def main(argv: list[str]) -> int:
    """Reserve GPUs and become the command. Returns, with an exit status, only if that fails."""
    try:
        if len(argv) < 2 or not argv[0].isdigit():
            raise UserError(f"arguments {' '.join(argv)!r}: must be a number of GPUs and a command")
        interruption = Interruption(snakemake_ancestors())
        reserved = reserve(int(argv[0]), visible(), interruption.reason)
        if reserved is None:
            print(f"mpdit.system.gpus: {interruption.reason()}", file=sys.stderr)
            return STATUS
        sys.stdout.flush()
        os.execvpe(argv[1], argv[1:], {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(reserved)})
    except UserError as error:
        print(f"mpdit.system.gpus: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no such command, or none that may be run
        print(f"mpdit.system.gpus: {in_one_line(error, argv[1])}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as shells report it


def visible() -> list[str]:
    """The GPUs to choose from, named as in CUDA_VISIBLE_DEVICES."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        return [name.strip() for name in variable.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return re.findall(r"^GPU (\d+):", listing.stdout, re.MULTILINE)


def reserve(
    count: int,
    gpus: Sequence[str],
    stop_reason: Callable[[], str | None] = lambda: None,
    report: Callable[[str], None] = print,
) -> list[str] | None:
    """Lock `count` of `gpus` until this process ends, or the program it becomes; returns their names.

    Waits while too few are free, and reports so once. Returns None if `stop_reason()` gives a reason to stop waiting.
    Raises UserError if `gpus` has fewer than `count`.
    """
    if count > len(gpus):
        raise UserError(
            f"GPUs requested: {count}, available: {len(gpus)} ({', '.join(gpus) or 'none'}); request no more than are "
            f"in CUDA_VISIBLE_DEVICES or, if that is not set, in the output of nvidia-smi -L"
        )
    reported = False
    while True:
        held: dict[str, int] = {}
        for gpu in gpus:
            if len(held) < count and (descriptor := _lock(gpu)) is not None:
                held[gpu] = descriptor
        if len(held) == count:
            for descriptor in held.values():
                os.set_inheritable(descriptor, True)
            return list(held)
        for descriptor in held.values():  # all or none, so that two waiting commands never wait for one another
            os.close(descriptor)
        if not reported:
            reported = True
            report(f"waiting for {count} of GPUs {', '.join(gpus)}, which other jobs are using")
        if stop_reason() is not None:
            return None
        time.sleep(POLL_INTERVAL * random.uniform(0.5, 1.5))


def _lock(gpu: str) -> int | None:
    """A file descriptor that holds the GPU's lock, or None if another process holds it."""
    # If a scheduler shows each of its jobs their own GPUs only, several jobs may call different GPUs 0.
    path = LOCKS / re.sub(r"[^\w-]", "_", "-".join(filter(None, (os.environ.get("SLURM_JOB_ID"), gpu))))
    try:
        LOCKS.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; GPUs are reserved by locking this file, so it must be possible to lock it"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
