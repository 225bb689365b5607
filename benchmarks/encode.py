"""Encoding: images/s with and without worker processes, and peak memory by the number of pictures.

    python benchmarks/encode.py PICTURES.zip

PICTURES.zip is an ImageFolder in a zip, of 1,000 pictures or more; the first 1,000 are taken, and the same ones ten
times. A narrow autoencoder of the SD-VAE's geometry, with random weights, is made on the spot. Speeds: of `mpdit
encode`, its start included, of 10,000 pictures as pixels and of 1,000 through the autoencoder, with no workers and with
some in turn, each against none in the same round (medians). Memory: at 1,000 and at 10,000 pictures, the resident
memory of all its processes together, at its highest.
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

import psutil

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
        narrow = str(save_autoencoder(folder / "autoencoder"))
        data = {"name": "b", "source": "zip", "resolution": arguments.resolution}
        pixels, latents = data | {"autoencoder": None}, data | {"autoencoder": narrow}

        def measure(data: dict, path: Path, workers: int, watch: bool) -> tuple[float, int]:
            return encode(data | {"path": str(path)}, folder / "latents", workers, arguments.device, watch)

        print(f"| at {arguments.resolution} pixels | workers | images/s | against none |")
        print("|---|---|---|---|")
        for kind, fields, path in (("pixels", pixels, many), ("narrow autoencoder", latents, few)):
            numbers = [0, *arguments.workers]
            rounds = [[measure(fields, path, n, watch=False)[0] for n in numbers] for _ in range(arguments.rounds)]
            for at, workers in enumerate(numbers):
                rate = statistics.median(row[at] for row in rounds)
                ratio = statistics.median(row[at] / row[0] for row in rounds)
                print(f"| {kind} | {workers} | {rate:,.0f} | {ratio:.2f} |", flush=True)
        print(f"\n| peak memory in MB | workers | {PICTURES:,} pictures | {TIMES * PICTURES:,} | ratio |")
        print("|---|---|---|---|---|")
        for kind, fields, workers in (
            ("pixels", pixels, 0),
            ("pixels", pixels, arguments.workers[-1]),
            ("narrow autoencoder", latents, arguments.workers[-1]),
        ):
            one, ten = (measure(fields, path, workers, watch=True)[1] / 1e6 for path in (few, many))
            print(f"| {kind} | {workers} | {one:,.0f} | {ten:,.0f} | {ten / one:.3f} |", flush=True)


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


def encode(data: dict, folder: Path, workers: int, device: str, watch: bool) -> tuple[float, int]:
    """Images/s of one `mpdit encode`; watched, the peak of its processes' resident bytes together (else 0)."""
    command = [sys.executable, "-m", "mpdit", "encode", json.dumps(data), "--output", str(folder)]
    started, peak = time.monotonic(), 0
    process = subprocess.Popen([*command, "--workers", str(workers), "--device", device], stdout=subprocess.DEVNULL)
    while watch and process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(LOOK_EVERY)
    process.wait()
    seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"mpdit encode ended with status {process.returncode}")
    count = json.loads((folder / "manifest.json").read_text())["count"]
    return count / seconds, peak


def resident(pid: int) -> int:
    """Bytes of a process and its children; pages that they share, as after a fork, count once."""
    total = 0
    try:
        whole = psutil.Process(pid)
        for process in (whole, *whole.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total


if __name__ == "__main__":
    main()
