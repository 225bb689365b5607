"""Do samples show the digit they were drawn for? Accuracy of a nearest-neighbor classifier on the real images.

    python benchmarks/digits.py        # after `snakemake --cores all results/table1.csv`

For every samples.npz of the default study, prints the share of images whose nearest real image, in pixels, has the
label that the image was drawn for. Chance is 0.1.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpdit import Latents
from mpdit.experiment import run_files
from mpdit.experiment.records import TrainedRun


def accuracy(samples: Path, real: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The share of samples whose label is that of the nearest row of `real` (N, D); `classes` (N,) holds these."""
    with np.load(samples) as archive:
        images, labels = archive["arr_0"][..., 0].reshape(len(archive["labels"]), -1), archive["labels"]
    images = images.astype(np.float64)
    distances = (images**2).sum(1)[:, None] - 2 * images @ real.T + (real**2).sum(1)
    return float((classes[distances.argmin(1)] == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the finished study (%(default)s)"
    )
    arguments = parser.parse_args()
    for folder in sorted((arguments.results / "latents").glob("mnist*")):
        latents = Latents(folder)
        real = np.asarray(latents.mean, dtype=np.float64).reshape(latents.count, -1)
        for samples in sorted((arguments.results / "runs").glob(f"*/{run_files.SAMPLES}/*/{run_files.SAMPLE_ARRAYS}")):
            run_folder = samples.parents[2]
            trained = TrainedRun.read(run_folder / run_files.TRAINED)
            if trained.latents == latents.fingerprint and trained.status == "trained":
                share = accuracy(samples, real, np.asarray(latents.labels))
                print(f"{share:.3f}  {run_folder.name}  {samples.parent.name}")


if __name__ == "__main__":
    main()
