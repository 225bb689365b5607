"""What `mpdit plan` prints of a workload: the work of each block, jobs by rule, disk, time on several devices."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..system.console import aligned, duration, with_si_prefix
from .jobs import RULES, Workload
from .rates import START, Rate

if TYPE_CHECKING:
    from pathlib import Path

SIDE_BY_SIDE = (1, 2, 4, 8, 16)  # numbers of runs that are trained at the same time
FROM_IMAGES = ("encode", "encode_shard", "reference")  # rules whose work depends on the number of images
UNKNOWN = "?"

Table = list[tuple[str, ...]]  # the first row holds the headings


def report_lines(configuration: Path, workload: Workload, rate: Rate) -> Iterator[str]:
    """The lines of the report on the workload of a configuration file."""
    runs = sum(share.jobs["train"].all for share in workload.shares)
    yield f"{configuration}: {_count(runs, 'run')} in {_count(len(workload.shares), 'block')}"
    tables = (
        (
            block_table(workload, rate),
            "Runs and samples that an earlier block has too are not new; the columns after `new` count new ones only.",
        ),
        (
            job_table(workload, rate),
            "Short jobs come on top: specs, plans, aggregates, tables, figures. `snakemake -n` counts all jobs.",
        ),
        (disk_table(workload), free_space(workload)),
        (time_table(workload, rate), "At best: time in queues is not counted, nor time in which a device is idle."),
    )
    for table, remark in tables:
        yield ""
        yield from aligned(table, text_columns=1)
        yield remark
    yield ""
    yield "Hours are an ESTIMATE: matrix products at the rate below; images are read while devices compute."
    yield f"- {rate.source}"
    compiling = f", {rate.compiling:g} s to compile each model that is trained" if rate.compiling else ""
    yield f"- {START[rate.unit]:g} s to start each job{compiling}: ASSUMED"
    for note in workload.data.notes:
        yield f"- {note}"


def block_table(workload: Workload, rate: Rate) -> Table:
    """One row per block, and the total: its runs and samples, how many are done, and the hours that are left."""
    counts, hours = [], []
    for share in workload.shares:
        train, sample = share.jobs["train"], share.jobs["sample"]
        counts.append((train.all, train.done, share.begun, sample.all, sample.done))
        hours.append(sum(rate.seconds(rule, job) for rule, jobs in share.jobs.items() for job in jobs.to_do))
    rows = [
        (share.name, f"{share.runs:,}", *map(_whole, numbers), _hours(seconds))
        for share, numbers, seconds in zip(workload.shares, counts, hours, strict=True)
    ]
    headings = ("block", "runs", "new", "trained", "begun", "samples", "drawn", f"{rate.unit}-hours")
    return [headings, *rows, ("total", "", *map(_whole, _sums(counts)), _hours(sum(hours)))]


def job_table(workload: Workload, rate: Rate) -> Table:
    """One row per rule that has jobs, and the total: jobs, floating-point operations and hours that are left."""
    cells, counts, flops, seconds = [], [], [], []
    for rule in RULES:
        groups = workload.jobs(rule)
        count, done = sum(jobs.all for jobs in groups), sum(jobs.done for jobs in groups)
        if not count:  # shards, where there are none
            continue
        to_do = [job for jobs in groups for job in jobs.to_do]
        counts.append((count, done, count - done))
        flops.append(sum(job.flops for job in to_do))
        seconds.append(sum(rate.seconds(rule, job) for job in to_do))
        is_known = workload.data.images is not None or rule not in FROM_IMAGES or not to_do
        work = (with_si_prefix(flops[-1]), _hours(seconds[-1])) if is_known else (UNKNOWN, UNKNOWN)
        cells.append((rule, *map(_whole, counts[-1]), *work))
    headings = ("job", "all", "done", "to do", "FLOP", f"{rate.unit}-hours")
    total = (*map(_whole, _sums(counts)), with_si_prefix(sum(flops)), _hours(sum(seconds)))
    return [headings, *cells, ("total", *total)]


def disk_table(workload: Workload) -> Table:
    """Bytes on disk when everything is done, by kind of file, and the total."""
    cells = [(name, f"{with_si_prefix(size)}B") for name, size in workload.disk.by_kind().items()]
    if workload.data.images is None:
        cells = [(name, UNKNOWN if name == "latents" else size) for name, size in cells]
    return [("disk", "at the end"), *cells, ("total", f"{with_si_prefix(workload.disk.total)}B")]


def free_space(workload: Workload) -> str:
    """A sentence on the free space where the results are."""
    folder = workload.results.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    shortage = ", which is TOO LITTLE for all of it" if free < workload.disk.total else ""
    return f"This disk has {with_si_prefix(free)}B free{shortage}. Files that are there already count toward the total."


def time_table(workload: Workload, rate: Rate) -> Table:
    """The total time on several devices, which is never less than that of the longest training on its own devices."""
    execution = workload.experiment.execution
    own = execution.devices if rate.unit == "GPU" else execution.threads
    seconds = {rule: [rate.seconds(rule, job) for jobs in workload.jobs(rule) for job in jobs.to_do] for rule in RULES}
    total, longest = sum(map(sum, seconds.values())), max(seconds["train"], default=0.0) / own
    devices = [own * runs for runs in SIDE_BY_SIDE]
    times = [duration(max(total / count, longest)) for count in devices]
    return [
        ("time", *(_count(count, rate.unit) for count in devices), "longest run"),
        ("all", *times, duration(longest)),
    ]


def _sums(rows: Sequence[Sequence[int]]) -> list[int]:
    """The sum of each column."""
    return [sum(column) for column in zip(*rows, strict=True)]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _whole(count: int) -> str:
    return f"{count:,}"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}"
