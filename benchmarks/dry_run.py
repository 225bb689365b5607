"""How long Snakemake takes to say what it would do: for the paper's configuration and for a grid of 400 runs.

Each beside a bare Snakefile of as many jobs, whose rules have nothing but a name, an input, an output and a command.

    python benchmarks/dry_run.py [--rounds 3]

Times are medians over rounds, in which each is taken once, the ratio is the median of those within a round, so that
other work on the machine meets both alike. Wall-clock seconds, and seconds of the processor beside them.
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
# A chain has the shape of a run: spec -> train -> sample -> score, and train -> trace.
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


def dry_run(folder: Path, *options: str, quiet: bool = True) -> tuple[float, float, str]:
    """Seconds of `snakemake -n`, of the clock and of the processor, and what it printed."""
    words = [sys.executable, "-m", "snakemake", "all", "--dry-run", "--cores", "2", "--directory", str(folder)]
    start = os.times()
    done = subprocess.run(
        [*words, *(("--quiet",) if quiet else ("--quiet", "rules")), *options], cwd=ROOT, capture_output=True, text=True
    )
    end = os.times()
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    processor = end.children_user + end.children_system - start.children_user - start.children_system
    return end.elapsed - start.elapsed, processor, done.stdout


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
        print(f"{'':<20}{'jobs':>6}{'here':>20}{'bare Snakemake':>20}{'ratio':>16}")
        for name, options in studies.items():
            printed = dry_run(folder / "study", *options, quiet=False)[2]
            jobs = int(re.search(r"^total +(\d+)$", printed, re.MULTILINE)[1])
            bare = folder / "Snakefile"
            bare.write_text(BARE.format(chains=round(jobs / 5)))
            times = [
                (*dry_run(folder / "study", *options)[:2], *dry_run(folder / "bare", "--snakefile", str(bare))[:2])
                for _ in range(args.rounds)
            ]
            wall, processor, bare_wall, bare_processor = map(statistics.median, zip(*times, strict=True))
            ratio = statistics.median(ours / theirs for ours, _, theirs, _ in times)
            ratio_processor = statistics.median(ours / theirs for _, ours, _, theirs in times)
            pairs = ((wall, processor, " s"), (bare_wall, bare_processor, " s"), (ratio, ratio_processor, ""))
            cells = [f"{first:.2f} ({second:.2f}){unit}" for first, second, unit in pairs]
            print(f"{name:<20}{jobs:>6}{cells[0]:>20}{cells[1]:>20}{cells[2]:>16}")
    print("seconds of the clock (of the processor)")


if __name__ == "__main__":
    main()
