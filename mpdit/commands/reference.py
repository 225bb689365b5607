"""Build the reference of a data set: statistics of its real images' features, and the real-against-real floor.

In:  DATA_JSON, the data section of a configuration, as a JSON file or as JSON itself. Its images are read from their
     source, resized and cropped as for encoding, but neither mirrored nor passed through an autoencoder.
     With --reference, other real images, treated the same way: a folder, with or without classes, a .zip or .tar of
     one, or Parquet shards; or precomputed statistics, taken as they are (.npz of the ADM evaluator, .pt of
     torch-fidelity).
Out: an .npz with `mu` and `sigma` (float64, over all images), up to 10,000 rows of float32 features drawn at random for
     KID, the count, names and hashes of data and features, and the floor. Features efficientnet-lite0-pca64 are those
     of the network, projected on 64 principal components of the reference's; the projection is in the file.

The floor is the score of real images against other real images: --count of them (or half, if there are fewer than twice
as many) are drawn at random and compared with the statistics of all the others, so that no image is on both sides. A
perfect model would score about the floor. Precomputed statistics have no floor, no rows and no count.
"""

import argparse
from pathlib import Path

from ..system.device import add_device_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA_JSON", help="the data section: a JSON file, or the JSON itself")
    parser.add_argument("--reference", metavar="PATH", help="other real images, or precomputed statistics (.npz, .pt)")
    parser.add_argument(
        "--features",
        required=True,
        metavar="NAME",
        help="efficientnet-lite0, efficientnet-lite0-pca64 (both built in) or inception",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="Inception's weights as torch-fidelity converts them (downloaded)"
    )
    parser.add_argument(
        "--count", type=int, required=True, metavar="N", help="number of samples to be compared with the reference"
    )
    parser.add_argument(
        "--known", type=Path, metavar="JSON", help="where to record which images or statistics these are"
    )
    add_device_argument(parser, "the feature extractor")
    parser.add_argument("--output", required=True, metavar="NPZ", help="the .npz to write")


def main(args: argparse.Namespace) -> None:
    from ..evaluation.reference import build_reference
    from ..experiment.checks import STATISTICS
    from ..experiment.known_source import Finding, remember
    from ..experiment.parse import read_data

    data, path = read_data(args.data), args.reference
    found = Finding.of("scoring.reference", path) if path else Finding.of("data.path", data.path)

    def accept(identity: str) -> None:
        if args.known is not None:  # statistics are an input of the rule: other ones make the reference again
            remember(args.known, found, identity, replace=path is not None and Path(path).suffix in STATISTICS)

    reference = build_reference(
        data,
        args.features,
        args.count,
        source=path,
        weights=args.weights,
        device=args.device,
        accept=accept,
    )
    reference.save(args.output)
