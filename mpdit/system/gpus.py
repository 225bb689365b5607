"""GPUs of its own for a command, on a machine without a scheduler: `python -m mpdit.system.gpus N COMMAND ...`.

The command is started with CUDA_VISIBLE_DEVICES set to N GPUs that no other command started this way has; where fewer
are free it waits. Which GPUs there are, CUDA_VISIBLE_DEVICES says, or else `nvidia-smi -L`.

A GPU is taken by a lock on a file of its own. This process becomes the command, which so holds the lock for as long as
it lives; the kernel releases it when the command ends, however it ends. The workflow starts its jobs like this when
Snakemake is told how many GPUs there are (`--resources gpu=4`). A stage called by hand shares GPUs with whoever is
there.
"""

import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .errors import UserError

LOCKS = Path(f"/tmp/mpdit-gpus-{os.getuid()}")  # one place for the whole machine, whatever TMPDIR is
LOOK_EVERY = 1.0  # seconds between looks for free GPUs


def main(argv: list[str]) -> int:
    """Take GPUs and become the command. Returns, with an exit status, only where that fails."""
    from .interruption import STATUS, Interruption, snakemake_ancestors

    try:
        if len(argv) < 2 or not argv[0].isdigit():
            raise UserError(f"arguments {' '.join(argv)!r}: must be a number of GPUs and a command")
        watch = Interruption(snakemake_ancestors())
        taken = take(int(argv[0]), visible(), watch.reason)
        if taken is None:
            print(f"mpdit.system.gpus: {watch.reason()}", file=sys.stderr)
            return STATUS
        sys.stdout.flush()
        os.execvpe(argv[1], argv[1:], {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(taken)})
    except UserError as error:
        print(f"mpdit.system.gpus: {error}", file=sys.stderr)
        return 2


def visible() -> list[str]:
    """The GPUs to choose from, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)


def take(
    count: int, gpus: list[str], stop: Callable[[], str | None] = lambda: None, say: Callable[[str], None] = print
) -> list[str] | None:
    """Lock `count` of `gpus` until this process ends, also as the program that it becomes; return their names.

    Waits while too few are free, and says so once; None when `stop` then gives a reason to give up. UserError where
    there are fewer than `count`.
    """
    if count > len(gpus):
        raise UserError(
            f"{count} GPUs are asked for and {len(gpus)} are there ({', '.join(gpus) or 'none'}): must be at most "
            f"those in CUDA_VISIBLE_DEVICES or, where that is not set, in the list of nvidia-smi -L"
        )
    told = False
    while True:
        held = {}
        for gpu in gpus:
            if len(held) < count and (handle := _lock(gpu)) is not None:
                held[gpu] = handle
        if len(held) == count:
            for handle in held.values():
                os.set_inheritable(handle, True)
            return list(held)
        for handle in held.values():  # all or none, so that two that wait never wait for one another
            os.close(handle)
        if not told:
            told = True
            say(f"waits for {count} of the GPUs {', '.join(gpus)}, which other jobs have")
        if stop() is not None:
            return None
        time.sleep(LOOK_EVERY * random.uniform(0.5, 1.5))


def _lock(gpu: str) -> int | None:
    """A handle that holds the GPU, or None when another process does."""
    # Where a scheduler hides the other GPUs, each of its jobs may call its own GPU 0.
    path = LOCKS / re.sub(r"[^\w-]", "_", "-".join(filter(None, (os.environ.get("SLURM_JOB_ID"), gpu))))
    try:
        LOCKS.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: must be a file that can be locked") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
