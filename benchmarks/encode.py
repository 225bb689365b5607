"""Encoding: images/s with and without worker processes, and peak memory by the number of pictures.

    python benchmarks/encode.py PICTURES.zip

PICTURES.zip is an ImageFolder in a zip, 1,000 pictures or more; the first 1,000 are taken. A narrow autoencoder of the
SD-VAE's geometry, with random weights, is made on the spot. Speeds: `mpdit encode` with 0, 1, 2, ... workers in turn,
the turns repeated, each against the one without workers in the same round (median of the ratios). Memory: 1,000
pictures, and 10,000 (the same ones ten times), all processes' resident memory together, at its highest.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import psutil
import torch
from diffusers import AutoencoderKL

PICTURES, TIMES = 1000, 10
LOOK_EVERY = 0.02  # seconds between looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="an ImageFolder in a zip")
    parser.add_argument("--resolution", type=int, default=128, help="(128)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes (1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--device", default="cpu", help="where the autoencoder runs (cpu)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        few, many = (repeated(arguments.pictures, folder / f"{times}.zip", times) for times in (1, TIMES))
        kinds = {"pixels": None, "narrow autoencoder": str(save_autoencoder(folder / "autoencoder"))}
        print(f"| {arguments.resolution} pixels | workers | images/s | against none |")
        print("|---|---|---|---|")
        for kind, autoencoder in kinds.items():
            data = {"name": "b", "source": "zip", "resolution": arguments.resolution, "autoencoder": autoencoder}
            for row in speeds(data | {"path": str(few)}, folder / "latents", arguments):
                print(f"| {kind} | {row[0]} | {row[1]:,.0f} | {row[2]:.2f} |", flush=True)
        print(f"\n| peak memory, MB | workers | {PICTURES:,} pictures | {TIMES * PICTURES:,} | ratio |")
        print("|---|---|---|---|---|")
        for kind, autoencoder in kinds.items():
            data = {"name": "b", "source": "zip", "resolution": arguments.resolution, "autoencoder": autoencoder}
            for workers in (0, max(arguments.workers)):
                peaks = [
                    encode(data | {"path": str(path)}, folder / "latents", workers, arguments.device)[1]
                    for path in (few, many)
                ]
                cells = " | ".join(f"{peak / 1e6:,.0f}" for peak in peaks)
                print(f"| {kind} | {workers} | {cells} | {peaks[1] / peaks[0]:.3f} |", flush=True)


def repeated(pictures: Path, path: Path, times: int) -> Path:
    """The first pictures of a zip, each `times` times under names of its own."""
    with zipfile.ZipFile(pictures) as whole, zipfile.ZipFile(path, "w") as made:
        names = [name for name in whole.namelist() if not name.endswith("/")][:PICTURES]
        if len(names) < PICTURES:
            sys.exit(f"{pictures}: {len(names)} pictures: must hold at least {PICTURES}")
        for name in names:
            for copy in range(times):
                place = Path(name)
                made.writestr(str(place.with_name(f"{copy}-{place.name}")), whole.read(name))
    return path


def save_autoencoder(folder: Path) -> Path:
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).save_pretrained(folder)
    return folder


def speeds(data: dict, folder: Path, arguments: argparse.Namespace) -> list[tuple[int, float, float]]:
    """(workers, median images/s, median ratio to no workers in the same round)."""
    numbers = [0, *arguments.workers]
    rounds = [[encode(data, folder, n, arguments.device)[0] for n in numbers] for _ in range(arguments.rounds)]
    return [
        (workers, statistics.median(column), statistics.median(row[at] / row[0] for row in rounds))
        for at, (workers, column) in enumerate(zip(numbers, zip(*rounds, strict=True), strict=True))
    ]


def encode(data: dict, folder: Path, workers: int, device: str) -> tuple[float, int]:
    """Images/s of one `mpdit encode`, its start included, and the peak of its processes' resident bytes together."""
    command = [sys.executable, "-m", "mpdit", "encode", json.dumps(data), "--output", str(folder)]
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(
        [*command, "--workers", str(workers), "--device", device], stdout=subprocess.DEVNULL, env=os.environ
    )
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(LOOK_EVERY)
    seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"mpdit encode ended with status {process.returncode}")
    count = json.loads((folder / "manifest.json").read_text())["count"]
    return count / seconds, peak


def resident(pid: int) -> int:
    total = 0
    try:
        whole = psutil.Process(pid)
        for process in (whole, *whole.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


if __name__ == "__main__":
    main()
