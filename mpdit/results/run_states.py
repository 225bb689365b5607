"""The state of each run, also while it is being trained and whatever its folder looks like.

States: trained; running (a process holds the run's lock); stopped (begun, and no process trains it: it continues from
its checkpoint); waiting (not begun); diverged; damaged (spec.json or trained.json cannot be read).
"""

import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..experiment import run_files
from ..system.files import read_json
from ..system.lock import holder

State = Literal["trained", "running", "stopped", "waiting", "diverged", "damaged"]
STATES: tuple[State, ...] = get_args(State)
RECENT = 600.0  # seconds since its last write within which a run counts as running, where its lock cannot be checked
TAIL = 65536  # bytes at the end of training.csv that are searched for the last whole row


@dataclass(frozen=True)
class RunState:
    """The state of a run. None stands for what is not known."""

    run: str
    state: State
    step: int | None = None  # the last one logged or, of a run that has ended, its last
    steps: int | None = None  # that it is to train
    loss: float | None = None  # the last one logged; None where it is not finite
    images_per_second: float | None = None  # the last one logged
    seconds_left: float | None = None  # of a running run


def run_states(folder: Path, planned: Mapping[str, int]) -> list[RunState]:
    """The states of the runs in a folder of run folders and of those in `planned` (name: steps), by name."""
    found = {path.name for path in folder.glob("[!.]*") if path.is_dir()} if folder.is_dir() else set()
    return [run_state(folder / name, planned.get(name)) for name in sorted(found | planned.keys(), key=_natural)]


def run_state(folder: Path, planned_steps: int | None = None) -> RunState:
    """The state of the run in `folder`; `planned_steps` counts where neither spec.json nor trained.json names any."""
    spec, trained = _json(folder / run_files.SPEC), _json(folder / run_files.TRAINED)
    row = _last_row(folder / run_files.TRAINING_TABLE)
    outcome = _mapping(trained)
    training = _mapping(_mapping(spec).get("training"))
    steps = _whole(training.get("steps")) or _whole(outcome.get("steps")) or planned_steps
    step = _whole(outcome.get("step"))
    step = _whole(row.get("step")) if step is None else step
    state = _state(folder, spec, trained, step, steps)
    speed, batch_size, left = _number(row.get("images_per_second")), _whole(training.get("batch_size")), None
    if state == "running" and speed and step is not None and steps and batch_size:
        left = max(0, steps - step) * batch_size / speed
    return RunState(folder.name, state, step, steps, _number(row.get("loss")), speed, left)


def _state(folder: Path, spec: object, trained: object, step: int | None, steps: int | None) -> State:
    if spec is UNREADABLE or trained is UNREADABLE:
        return "damaged"
    status = _mapping(trained).get("status")
    if status == "diverged":
        return "diverged"
    if status == "trained" and (steps or 0) <= (step or 0):
        return "trained"
    if trained is not None and status != "trained":
        return "damaged"
    if _is_running(folder):
        return "running"
    return "stopped" if step or (folder / run_files.CHECKPOINTS).exists() else "waiting"


def _is_running(folder: Path) -> bool:
    """Whether a process holds the run's lock; where this machine cannot tell, whether the run was written recently."""
    lock, is_checked = folder / run_files.LOCK, False
    with suppress(OSError):  # a file system without locks
        if holder(lock):
            return True
        is_checked = True
    with suppress(OSError):
        # A process that ends by itself clears the lock file, one that is killed leaves its name in it.
        owner = lock.read_text(errors="replace").strip()
        if not owner or (is_checked and owner.endswith(f" on {socket.gethostname()}")):
            return False
        logs = [folder / name for name in (run_files.TRAINING_TABLE, run_files.TRAIN_LOG)]
        return time.time() - max((log.stat().st_mtime for log in logs if log.exists()), default=0) < RECENT
    return False


UNREADABLE = object()  # a JSON file that is there and cannot be read


def _json(path: Path) -> object:
    """The mapping in a JSON file; None where there is no file, UNREADABLE where there is something else, or damage."""
    if not path.exists():
        return None
    try:
        value = read_json(path)
    except (OSError, ValueError, RecursionError):
        return UNREADABLE
    return value if isinstance(value, dict) else UNREADABLE


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _last_row(path: Path) -> dict[str, str]:
    """The last whole row of a growing CSV, by column, read from the ends of the file; empty when there is none."""
    try:
        with open(path, "rb") as file:
            header = file.readline().decode().rstrip("\r\n").split(",")
            start = file.tell()
            file.seek(max(start, path.stat().st_size - TAIL))
            tail = file.read().decode(errors="replace")
    except (OSError, ValueError):
        return {}
    for line in reversed(tail[: tail.rfind("\n") + 1].splitlines()):
        cells = line.split(",")
        if len(cells) == len(header):
            return dict(zip(header, cells, strict=True))
    return {}


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    with suppress(TypeError, ValueError, OverflowError):
        number = float(value)
        if abs(number) < float("inf"):
            return number
    return None


def _whole(value: Any) -> int | None:
    """A whole number, or None for anything else."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts seed10 after seed9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
