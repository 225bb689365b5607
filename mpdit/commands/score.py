"""Score samples against real images: FID and KID, in one row that holds the whole protocol.

In:  samples.npz (`arr_0`, uint8 (N, H, W, 3)) and protocol.json beside it, as `mpdit sample` writes them; a reference
     that `mpdit reference` wrote, built with the features that are used here, and with --known from the real images
     that the study has now.
Out: a CSV with one row: the run's axes, how it was sampled, what it was compared with and by which features, then
     `fid`, `kid`, `kid_sd` (its standard error over samples), `fid_rank_deficient`, the real-against-real `fid_floor`
     and `kid_floor` at `floor_count` images, and the commit of the code that scored. If the reference is precomputed
     statistics, reference_count, KID and the floor are empty. Only the header if there are no samples because the run
     diverged.
"""

import argparse
from pathlib import Path

from ..system.device import add_device_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("samples", metavar="SAMPLES", type=Path, help="the samples.npz to score")
    parser.add_argument(
        "--reference", type=Path, required=True, metavar="NPZ", help="the .npz that `mpdit reference` wrote"
    )
    parser.add_argument(
        "--known", type=Path, metavar="JSON", help="what `mpdit identify` knows of the real images or their statistics"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="Inception's weights as torch-fidelity converts them (downloaded)"
    )
    add_device_argument(parser, "the feature extractor")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="the CSV to write")


def main(args: argparse.Namespace) -> None:
    from ..evaluation.scoring import score_samples
    from ..experiment.known_source import read_known

    known = read_known(args.known) if args.known else None
    score_samples(args.samples, args.reference, args.output, known=known, weights=args.weights, device=args.device)
