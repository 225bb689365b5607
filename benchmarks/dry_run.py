"""Time of a Snakemake dry run of the paper's configuration and of a grid of 400 runs.

Each is measured beside a bare Snakefile with as many jobs, whose rules have only a name, an input, an output and a
command.

    python benchmarks/dry_run.py [--rounds 3]

Times are medians over rounds, and each round takes every measurement once; the ratio is the median of the ratios within
rounds, so that other work on the machine affects both sides alike. Wall-clock seconds come first, CPU seconds follow in
parentheses.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
GRID = {
    "data": {"name": "mnist12", "source": "mnist", "resolution": 12},
    "experiments": {
        "table1": {
            "model": ["DiT-XS/2", "DiT-S/2"], "config": ["A", "B", "C", "D", "E"],
            "modulation": ["scale", "scale_shift"], "lr": [1e-4, 1e-3, 1e-2, 2e-2], "seed": [0, 1, 2, 3, 4],
        }
    },
}  # fmt: skip
# Each chain has the shape of a run: spec -> train -> sample -> score, and train -> trace.
BARE = """
CHAINS = {chains}
rule all:
    input: [f"{{i}}/{{name}}" for i in range(CHAINS) for name in ("score", "trace")]
rule spec:
    output: "{{i}}/spec"
    shell: "touch {{output}}"
rule train:
    input: "{{i}}/spec"
    output: "{{i}}/train"
    shell: "touch {{output}}"
rule sample:
    input: "{{i}}/train"
    output: "{{i}}/sample"
    shell: "touch {{output}}"
rule score:
    input: "{{i}}/sample"
    output: "{{i}}/score"
    shell: "touch {{output}}"
rule trace:
    input: "{{i}}/train"
    output: "{{i}}/trace"
    shell: "touch {{output}}"
"""


def time_dry_run(folder: Path, *options: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a dry run in `folder`."""
    start = os.times()
    dry_run_output(folder, "--quiet", *options)
    end = os.times()
    cpu = end.children_user + end.children_system - start.children_user - start.children_system
    return end.elapsed - start.elapsed, cpu


def dry_run_output(folder: Path, *options: str) -> str:
    """What a dry run in `folder` prints. Exits if it fails."""
    words = [sys.executable, "-m", "snakemake", "all", "--dry-run", "--cores", "2", "--directory", str(folder)]
    done = subprocess.run([*words, *options], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def count_jobs(folder: Path, *options: str) -> int:
    """The number of jobs that a dry run in `folder` announces."""
    match = re.search(r"^total +(\d+)$", dry_run_output(folder, "--quiet", "rules", *options), re.MULTILINE)
    if match is None:
        sys.exit("the dry run printed no table of jobs")
    return int(match[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds: {args.rounds}: must be at least 1")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "grid.yaml").write_text(yaml.safe_dump(GRID))
        studies = {
            "the paper's study": ("--configfile", str(ROOT / "workflow/config/imagenet128.yaml")),
            "a grid of 400 runs": ("--configfile", str(folder / "grid.yaml")),
        }
        print(f"{'':<20}{'jobs':>6}{'this workflow':>20}{'bare Snakefile':>20}{'ratio':>16}")
        for name, options in studies.items():
            jobs = count_jobs(folder / "study", *options)
            bare = folder / "Snakefile"
            bare.write_text(BARE.format(chains=round(jobs / 5)))
            rounds = [
                (time_dry_run(folder / "study", *options), time_dry_run(folder / "bare", "--snakefile", str(bare)))
                for _ in range(args.rounds)
            ]
            cells = [cell([times[side] for times in rounds], " s") for side in (0, 1)]
            ratios = [(ours[0] / theirs[0], ours[1] / theirs[1]) for ours, theirs in rounds]
            print(f"{name:<20}{jobs:>6}{cells[0]:>20}{cells[1]:>20}{cell(ratios):>16}")
    print("wall-clock seconds (CPU seconds)")


def cell(pairs: list[tuple[float, float]], unit: str = "") -> str:
    """The medians of the first and of the second numbers."""
    wall, cpu = (statistics.median(values) for values in zip(*pairs, strict=True))
    return f"{wall:.2f} ({cpu:.2f}){unit}"


if __name__ == "__main__":
    main()
