"""What a study will take, before anything runs: runs, jobs, time and disk.

In:  a configuration, what its runs have left in RESULTS so far, and the images or the latents where they are at hand.
Out: printed: the runs and samples of each block, and how far they are; the jobs still to do, their floating-point
     operations (FLOP) and the hours of a GPU (or core) that these take; the disk that the whole study needs; the time
     on several devices side by side. Nothing is written, downloaded or submitted.

Operations are counted. Hours are an estimate: at the rate given, or that finished runs of the study have measured here,
or cost.csv, or else assumed; what is printed says which.
"""

import argparse
import shutil
from pathlib import Path

SIDE_BY_SIDE = (1, 2, 4, 8, 16)  # runs
FROM_PICTURES = ("encode", "encode_shard", "reference")  # rules whose work their number decides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, default=Path("config.yaml"), metavar="YAML", help="(%(default)s)")
    parser.add_argument("--block", nargs="+", metavar="NAME", help="blocks of `experiments:` (default: all)")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--flops-per-second", type=float, metavar="F", help="of one GPU (or core), such as 5e13")
    parser.add_argument("--images", type=int, metavar="N", help="how many pictures the source has, if not at hand")


def main(args: argparse.Namespace) -> None:
    from ..planning.jobs import Study, find_data
    from ..planning.rates import find_rate
    from ..system.errors import UserError

    experiment = read_experiment(args.configfile)
    for block in args.block or ():
        if block not in experiment.blocks:
            raise UserError(f"--block: {block}: must be one of {', '.join(experiment.blocks)}")
    if args.flops_per_second is not None and not 0 < args.flops_per_second < float("inf"):
        raise UserError(f"--flops-per-second: {args.flops_per_second:g}: must be above 0")
    if args.images is not None and args.images < 1:
        raise UserError(f"--images: {args.images}: must be at least 1")
    data = find_data(experiment, args.results, args.images)
    blocks = dict.fromkeys(args.block or experiment.blocks)
    study = Study(experiment, list(blocks), args.results, data)
    report(args.configfile, study, find_rate(study, args.flops_per_second))


def read_experiment(path: Path):
    """The validated configuration in a YAML file. UserError, one line that names the file, for what is not right."""
    import yaml

    from ..experiment.grid import Experiment
    from ..system.errors import UserError

    try:
        return Experiment(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: must be a configuration") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}: must be YAML") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def report(configfile: Path, study, rate) -> None:
    from ..planning.rates import START
    from ..system.console import aligned

    runs = sum(share.jobs["train"].all for share in study.shares)
    print(f"{configfile}: {_count(runs, 'run')} in {_count(len(study.shares), 'block')}")
    tables = (block_table(study, rate), job_table(study, rate), disk_table(study), time_table(study, rate))
    below = (
        "Runs and samples that a block above has are not new; what stands right of `new` counts the new ones.",
        "Beside these there are short jobs: specs, plans, aggregates, tables, figures. `snakemake -n` counts them all.",
        space_left(study),
        "At best: queues are not counted, nor hours in which a device has nothing to do.",
    )
    for table, text in zip(tables, below, strict=True):
        print("", *aligned(table, text_columns=1), text, sep="\n")
    print("\nHours are an ESTIMATE, of matrix products at the rate below; pictures are read while devices work.")
    print(f"- {rate.source}")
    compiling = f", {rate.compiling:g} s to compile a model that is trained" if rate.compiling else ""
    print(f"- {START[rate.unit]:g} s to start a job{compiling}: ASSUMED")
    for note in study.data.notes:
        print(f"- {note}")


def block_table(study, rate) -> list[tuple[str, ...]]:
    rows = []
    for share in study.shares:
        train, sample = share.jobs["train"], share.jobs["sample"]
        seconds = sum(rate.seconds(rule, *job) for rule, jobs in share.jobs.items() for job in jobs.to_do)
        counts = (train.all, train.done, share.begun, sample.all, sample.done)
        rows.append((share.name, share.runs, *counts, seconds))
    headings = ("block", "runs", "new", "trained", "begun", "samples", "drawn", f"{rate.unit}-hours")
    total = ("total", None, *(sum(row[place] for row in rows) for place in range(2, 8)))
    return [headings, *((row[0], *map(_whole, row[1:7]), _hours(row[7])) for row in (*rows, total))]


def job_table(study, rate) -> list[tuple[str, ...]]:
    from ..planning.jobs import RULES
    from ..system.console import with_si_prefix

    rows = []
    for rule in RULES:
        groups = study.jobs(rule)
        done, count = sum(jobs.done for jobs in groups), sum(jobs.all for jobs in groups)
        to_do = [job for jobs in groups for job in jobs.to_do]
        seconds = sum(rate.seconds(rule, *job) for job in to_do)
        if not count:  # shards where there are none
            continue
        rows.append((rule, count, done, count - done, sum(flops for _, flops in to_do), seconds))
    headings = ("job", "all", "done", "to do", "FLOP", f"{rate.unit}-hours")
    total = ("total", *(sum(row[place] for row in rows) for place in range(1, 6)))
    cells = [(row[0], *map(_whole, row[1:4]), with_si_prefix(row[4]), _hours(row[5])) for row in (*rows, total)]
    if study.data.images is None:
        cells = [(*row[:4], "?", "?") if row[0] in FROM_PICTURES and row[3] != "0" else row for row in cells]
    return [headings, *cells]


def disk_table(study) -> list[tuple[str, str]]:
    from ..system.console import with_si_prefix

    sizes = {**study.disk, "total": sum(study.disk.values())}
    cells = {name: f"{with_si_prefix(size)}B" for name, size in sizes.items()}
    if study.data.images is None:
        cells["latents"] = "?"
    return [("disk", "in the end"), *cells.items()]


def space_left(study) -> str:
    from ..system.console import with_si_prefix

    folder = study.results.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    short = ", which is TOO LITTLE for all of it" if free < sum(study.disk.values()) else ""
    return f"On this disk {with_si_prefix(free)}B are free{short}. What is there already is part of the sum."


def time_table(study, rate) -> list[tuple[str, ...]]:
    """The sum over devices, but no less than the longest training on the devices that one run has."""
    from ..planning.jobs import RULES
    from ..system.console import duration

    execution = study.experiment.execution
    own = execution["devices"] if rate.unit == "GPU" else execution["threads"]
    seconds = {rule: [rate.seconds(rule, *job) for jobs in study.jobs(rule) for job in jobs.to_do] for rule in RULES}
    total, longest = sum(map(sum, seconds.values())), max(seconds["train"], default=0) / own
    counts = [own * runs for runs in SIDE_BY_SIDE]
    times = [duration(max(total / count, longest)) for count in counts]
    return [
        ("time", *(_count(count, rate.unit) for count in counts), "longest run"),
        ("all", *times, duration(longest)),
    ]


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _whole(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}"
