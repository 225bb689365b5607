"""Encoding: images/s with and without worker processes, and peak memory by the number of pictures.

    python benchmarks/encode.py PICTURES.zip

PICTURES.zip is an ImageFolder in a zip, of 1,000 pictures or more; the first 1,000 are taken, and a second zip holds
each of them ten times. An autoencoder of the SD-VAE's geometry, narrow and with random weights, is made for the
measurement. Speeds are those of `mpdit encode`, its start included, for 10,000 pictures as pixels and for 1,000 through
the autoencoder. In every round each number of workers is measured in turn and compared with none; printed are medians
over rounds. Memory is the peak of the resident memory of all its processes together, for 1,000 and for 10,000 pictures.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import psutil

PICTURES, COPIES = 1000, 10
POLL_INTERVAL = 0.02  # seconds between measurements of memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="an ImageFolder in a zip")
    parser.add_argument("--resolution", type=int, default=128, help="pixels (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes (1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="of speed (%(default)s)")
    parser.add_argument("--device", default="cpu", help="where the autoencoder runs (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        few, many = (write_copies(arguments.pictures, folder / f"{copies}.zip", copies) for copies in (1, COPIES))
        autoencoder = str(save_autoencoder(folder / "autoencoder"))
        common = {"name": "b", "source": "zip", "resolution": arguments.resolution}
        pixels, latents = common | {"autoencoder": None}, common | {"autoencoder": autoencoder}

        def measure(data: dict[str, Any], path: Path, workers: int, memory: bool) -> tuple[float, int]:
            return encode(data | {"path": str(path)}, folder / "latents", workers, arguments.device, memory)

        print(f"| at {arguments.resolution} pixels | workers | images/s | against none |")
        print("|---|---|---|---|")
        for label, data, path in (("pixels", pixels, many), ("narrow autoencoder", latents, few)):
            numbers = [0, *arguments.workers]
            rounds = [[measure(data, path, n, memory=False)[0] for n in numbers] for _ in range(arguments.rounds)]
            for index, workers in enumerate(numbers):
                rate = statistics.median(rates[index] for rates in rounds)
                ratio = statistics.median(rates[index] / rates[0] for rates in rounds)
                print(f"| {label} | {workers} | {rate:,.0f} | {ratio:.2f} |", flush=True)
        print(f"\n| peak memory in MB | workers | {PICTURES:,} pictures | {COPIES * PICTURES:,} | ratio |")
        print("|---|---|---|---|---|")
        for label, data, workers in (
            ("pixels", pixels, 0),
            ("pixels", pixels, arguments.workers[-1]),
            ("narrow autoencoder", latents, arguments.workers[-1]),
        ):
            small, large = (measure(data, path, workers, memory=True)[1] / 1e6 for path in (few, many))
            print(f"| {label} | {workers} | {small:,.0f} | {large:,.0f} | {large / small:.3f} |", flush=True)


def write_copies(pictures: Path, path: Path, copies: int) -> Path:
    """Write a zip of the first PICTURES pictures of another, each `copies` times under different names."""
    with zipfile.ZipFile(pictures) as original, zipfile.ZipFile(path, "w") as repeated:
        names = [name for name in original.namelist() if not name.endswith("/")][:PICTURES]
        if len(names) < PICTURES:
            sys.exit(f"{pictures}: {len(names)} pictures; at least {PICTURES} are needed")
        for name in names:
            for copy in range(copies):
                repeated.writestr(str(Path(name).with_name(f"{copy}-{Path(name).name}")), original.read(name))
    return path


def save_autoencoder(folder: Path) -> Path:
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).save_pretrained(folder)
    return folder


def encode(data: dict[str, Any], folder: Path, workers: int, device: str, memory: bool) -> tuple[float, int]:
    """Images/s of one `mpdit encode`, and with `memory` the peak of its processes' resident bytes together (else 0)."""
    command = [sys.executable, "-m", "mpdit", "encode", json.dumps(data), "--output", str(folder)]
    started, peak = time.monotonic(), 0
    process = subprocess.Popen([*command, "--workers", str(workers), "--device", device], stdout=subprocess.DEVNULL)
    while memory and process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(POLL_INTERVAL)
    process.wait()
    seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"mpdit encode ended with status {process.returncode}")
    count = json.loads((folder / "manifest.json").read_text())["count"]
    return count / seconds, peak


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children; pages that they share, as after a fork, count once."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total


if __name__ == "__main__":
    main()
