"""The state of every run.

In:  the folder of run folders, and plans for the runs that have not begun.
Out: a line a run, also while they are being trained: its state, the step of how many, the last loss logged, images a
     second and the time left.

States: trained; running (a process holds the run's lock); stopped (begun, and nobody is at it: it goes on from its
checkpoint); waiting (not begun); diverged; damaged (spec.json or trained.json cannot be read).
"""

import re
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

HEADINGS = ("run", "state", "step", "loss", "images/s", "left")
STATES = ("trained", "running", "stopped", "waiting", "diverged", "damaged")
FRESH = 600.0  # seconds since a run last wrote: it is taken for running where its lock cannot be seen from this machine


def add_arguments(parser):
    parser.add_argument("--runs", default="results/runs", metavar="FOLDER", help="folder of run folders (%(default)s)")
    parser.add_argument(
        "--plan", nargs="+", default=[], metavar="JSON", help="plan.json files: their runs are listed even if not begun"
    )


def main(args):
    from ..results.collect import read_plan
    from ..system.console import aligned

    root = Path(args.runs)
    steps = {entry["run"]: entry["steps"] for plan in args.plan for entry in read_plan(plan)}
    folders = {folder.name for folder in root.glob("[!.]*") if folder.is_dir()} if root.is_dir() else set()
    names = sorted(folders | set(steps), key=_natural)
    if not names:
        print(f"{root}: no runs yet")
        return
    lines = [state(root / name, steps.get(name)) for name in names]
    for line in aligned([HEADINGS, *lines], words=2):
        print(line)
    counts = Counter(line[1] for line in lines)
    print(f"{len(names)} runs: {', '.join(f'{counts[found]} {found}' for found in STATES if counts[found])}")


def state(folder: Path, steps: int | None = None) -> tuple[str, ...]:
    """The cells of one run under HEADINGS; `steps` where only a plan knows them. What can't be read is shown as -."""
    spec, trained, row = _json(folder / "spec.json"), _json(folder / "trained.json"), _last_row(folder / "training.csv")
    training = _mapping(_mapping(spec).get("training"))
    steps = _number(training.get("steps")) or _number(_mapping(trained).get("steps")) or steps
    step = _number(_mapping(trained).get("step")) or _number(row.get("step"))
    found = _state(folder, spec, trained, step, steps)
    speed, left = _number(row.get("images_per_second")), None
    if found == "running" and speed and step is not None and steps and _number(training.get("batch_size")):
        left = max(0, steps - step) * training["batch_size"] / speed
    return (folder.name, found, _of(step, steps), _short(row.get("loss")), _short(speed), _duration(left))


def _state(folder: Path, spec, trained, step: float | None, steps: float | None) -> str:
    if spec is BROKEN or trained is BROKEN:
        return "damaged"
    status = _mapping(trained).get("status")
    if status == "diverged" or (status == "trained" and (steps or 0) <= (step or 0)):
        return status
    if trained is not None and status != "trained":
        return "damaged"
    if _is_running(folder):
        return "running"
    return "stopped" if step or (folder / "checkpoints").exists() else "waiting"


def _is_running(folder: Path) -> bool:
    """Whether a process holds the run's lock; where that cannot be seen from here, whether the run wrote of late."""
    import socket

    from ..system.lock import holder

    lock, seen = folder / "lock", False
    with suppress(OSError):  # a file system without locks
        if holder(lock):
            return True
        seen = True
    with suppress(OSError):
        # Who ends by itself takes its name out of the file, who is killed does not.
        named = lock.read_text(errors="replace").strip()
        if not named or (seen and named.endswith(f" on {socket.gethostname()}")):
            return False
        written = [file.stat().st_mtime for file in (folder / "training.csv", folder / "train.log") if file.exists()]
        return time.time() - max(written, default=0) < FRESH
    return False


BROKEN = object()  # a JSON file that is there and can't be read


def _json(path: Path):
    import json

    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return BROKEN
    return value if isinstance(value, dict) else BROKEN


def _mapping(value) -> dict:
    return value if isinstance(value, dict) else {}


def _last_row(path: Path) -> dict:
    """The last whole row of a growing CSV, by column, read from its two ends; empty when there is none."""
    try:
        with open(path, "rb") as file:
            header = file.readline().decode().rstrip("\r\n").split(",")
            start = file.tell()
            file.seek(max(start, path.stat().st_size - 65536))
            tail = file.read().decode(errors="replace")
    except (OSError, ValueError):
        return {}
    for line in reversed(tail[: tail.rfind("\n") + 1].splitlines()):
        cells = line.split(",")
        if len(cells) == len(header):
            return dict(zip(header, cells, strict=True))
    return {}


def _number(value) -> float | None:
    """A finite number, or None for anything else."""
    with suppress(TypeError, ValueError, OverflowError):
        number = float(value)
        if abs(number) < float("inf"):
            return int(number) if number.is_integer() else number
    return None


def _of(step: float | None, steps: float | None) -> str:
    return f"{'-' if step is None else f'{step:,}'} of {steps:,}" if steps else "-" if step is None else f"{step:,}"


def _short(value) -> str:
    number = _number(value)
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _duration(seconds: float | None) -> str:
    from ..system.console import duration

    return "-" if seconds is None else duration(seconds)


def _natural(name: str) -> list:
    """Sort key: seed10 after seed9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
