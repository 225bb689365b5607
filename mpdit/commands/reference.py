"""Make the reference of a data set: statistics of its real images' features, and the real-against-real floor.

In:  DATA_JSON, the `data` section of a configuration as a JSON file or as JSON itself. Its images are read from the
     source itself, resized and cropped as for encoding, never mirrored and never through an autoencoder.
     Or, with --reference, other real images, treated alike: a folder with or without classes, a .zip or .tar of one, or
     Parquet shards; or precomputed statistics, taken as they are (.npz of the ADM evaluator, .pt of torch-fidelity).
Out: an .npz with `mu` and `sigma` (float64, over all images), up to 10,000 rows of float32 features drawn at random for
     KID, the count, names and hashes of data and features, and the floor.

The floor is what real images score against real images: --count of them (or half, if there are fewer than twice as
many) are drawn at random and compared with the statistics of all the others, so that no image is on both sides. A
perfect model would score about the floor. Precomputed statistics have no floor, no rows and no count.
"""

from ..system.device import add_device_argument


def add_arguments(parser):
    parser.add_argument("data", metavar="DATA_JSON", help="the data section: a JSON file, or the JSON itself")
    parser.add_argument("--reference", metavar="PATH", help="other real images, or statistics (.npz, .pt)")
    parser.add_argument("--features", required=True, help="efficientnet-lite0 (built in) or inception")
    parser.add_argument("--weights", help="Inception's weights as torch-fidelity converts them (default: download)")
    parser.add_argument("--count", type=int, required=True, help="how many samples will be compared with the reference")
    add_device_argument(parser, "the feature extractor")
    parser.add_argument("--output", required=True, help="the .npz to write")


def main(args):
    import hashlib
    from pathlib import Path

    import numpy as np

    from ..data.pictures import kind_of, open_source, pictures
    from ..evaluation.features import dimension, load_extractor
    from ..evaluation.metrics import Reference, reference_statistics
    from ..experiment.grid import STATISTICS, read_data
    from ..system.console import with_progress
    from ..system.errors import UserError
    from ..system.seeds import seed_of

    if args.count < 2:
        raise UserError(f"--count: {args.count}: must be at least 2")
    data = read_data(args.data)
    extractor = load_extractor(args.features, args.weights, args.device)
    name, path = data["name"], args.reference and Path(args.reference)
    if path and path.suffix in STATISTICS:
        made = Reference.precomputed(path, extractor.name, extractor.hash, dimension(extractor.name))
        made.save(args.output)
        return
    if path:
        name, data = path.name, {**data, "source": kind_of(args.reference), "path": args.reference}
    source = open_source(data, labelled=path is None)
    digest = hashlib.sha256(extractor.hash.encode())

    def images():
        for picture in pictures(source, data):
            if picture.crop is not None:
                image = np.repeat(picture.crop, 3, axis=-1) if source.channels == 1 else picture.crop
                digest.update(repr(image.shape).encode())
                digest.update(image.tobytes())
                yield image

    features = extractor.batches(with_progress("reference", images(), len(source)))
    # Drawn by a fixed key: every run is compared with the same reference, whatever its own seed.
    rng = np.random.default_rng(seed_of("reference"))
    moments, rows, floor = reference_statistics(features, args.count, rng)
    Reference(
        name=name,
        hash=digest.hexdigest()[:16],
        features=extractor.name,
        features_hash=extractor.hash,
        count=moments.count,
        mu=moments.mean,
        sigma=moments.covariance,
        rows=rows,
        **floor,
    ).save(args.output)
