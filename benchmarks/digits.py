"""Do the samples show what was asked for? Agreement of a nearest-neighbour classifier on the real images.

    python benchmarks/digits.py        # after `snakemake --cores all results/table1.csv`

For every samples.npz of the default study: the share of images whose nearest real image, in pixels, is of the class
that was asked for. Chance is 0.1.
"""

import argparse
from pathlib import Path

import numpy as np

from mpdit import Latents
from mpdit.system.files import read_json


def agreement(samples: Path, real: np.ndarray, classes: np.ndarray) -> float:
    """Share of `samples` (arr_0, labels) whose nearest row of `real` (N, D) has the label asked for."""
    with np.load(samples) as archive:
        images, labels = archive["arr_0"][..., 0].reshape(len(archive["labels"]), -1), archive["labels"]
    images = images.astype(np.float64)
    distances = (images**2).sum(1)[:, None] - 2 * images @ real.T + (real**2).sum(1)
    return float((classes[distances.argmin(1)] == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"), help="(%(default)s)")
    arguments = parser.parse_args()
    for folder in sorted((arguments.results / "latents").glob("mnist*")):
        latents = Latents(folder)
        real = np.asarray(latents.mean, dtype=np.float64).reshape(latents.count, -1)
        for samples in sorted((arguments.results / "runs").glob("*/samples/*/samples.npz")):
            trained = read_json(samples.parents[2] / "trained.json")
            if trained["latents"] == latents.fingerprint and trained["status"] == "trained":
                share = agreement(samples, real, np.asarray(latents.labels))
                print(f"{share:.3f}  {samples.parents[2].name}  {samples.parent.name}")


if __name__ == "__main__":
    main()
