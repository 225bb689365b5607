"""Score samples against real images: FID and KID, with the whole protocol in the row.

In:  samples.npz (`arr_0`, uint8 NHWC with 3 channels) and protocol.json beside it, as `mpdit sample` writes them; a
     reference that `mpdit reference` wrote, whose features are the ones computed here.
Out: a CSV of one row: the run's axes, how it was sampled, what it was compared with and by which features, then `fid`,
     `kid`, `kid_sd` (over subsets), `fid_rank_deficient`, the real-against-real `fid_floor` and `kid_floor` at
     `floor_count` images, and the commit of the code that scored. Empty where the reference is precomputed statistics:
     reference_count, KID and the floor. The header alone where there are no samples because the run diverged.
"""

from ..system.device import add_device_argument

PROTOCOL = (
    "run", "model", "config", "modulation", "lr", "seed", "data",
    "sampler", "steps", "guidance", "count", "ema_width", "step", "sampling_seed",
)  # fmt: skip
COLUMNS = (
    *PROTOCOL, "features", "features_hash", "reference", "reference_count", "reference_hash",
    "fid", "kid", "kid_sd", "fid_rank_deficient", "fid_floor", "kid_floor", "floor_count", "commit",
)  # fmt: skip


def add_arguments(parser):
    parser.add_argument("samples", metavar="SAMPLES", help="the samples.npz to score")
    parser.add_argument("--reference", required=True, help="the .npz of `mpdit reference`")
    parser.add_argument("--weights", help="Inception's weights as torch-fidelity converts them (default: download)")
    add_device_argument(parser, "the feature extractor")
    parser.add_argument("--output", required=True, help="the CSV to write")


def main(args):
    from pathlib import Path

    import numpy as np

    from ..evaluation.features import load_extractor
    from ..evaluation.metrics import Reference, score
    from ..system.console import with_progress
    from ..system.errors import UserError
    from ..system.files import read_json, write_csv
    from ..system.provenance import commit

    protocol_file = Path(args.samples).parent / "protocol.json"
    images = _read_samples(args.samples)
    protocol = read_json(protocol_file)
    missing = [name for name in PROTOCOL if name not in protocol]
    if missing:
        raise UserError(f"{protocol_file}: no {', '.join(missing)} in it: must be what `mpdit sample` wrote")
    reference = Reference.load(args.reference)
    if len(images) == 0:
        write_csv(args.output, COLUMNS, [])
        return
    if len(images) != protocol["count"]:
        raise UserError(f"{args.samples}: {len(images)} images: must be {protocol['count']}, as {protocol_file} says")
    if len(images) < 2:
        raise UserError(f"{args.samples}: 1 image: must be at least 2, a distance needs a spread")
    extractor = load_extractor(reference.features, args.weights, args.device)
    if extractor.hash != reference.features_hash:
        raise UserError(
            f"{args.reference}: {reference.features} with hash {reference.features_hash}: must be made again with the "
            f"features that are used here, {extractor.hash}"
        )
    features = np.concatenate(list(extractor.batches(with_progress("score", images, len(images)))))
    row = {
        **{name: protocol[name] for name in PROTOCOL},
        "ema_width": "none" if protocol["ema_width"] is None else protocol["ema_width"],
        "features": reference.features,
        "features_hash": reference.features_hash,
        "reference": reference.name,
        "reference_count": reference.count,
        "reference_hash": reference.hash,
        **score(features, reference),
        "commit": commit(),
    }
    unknown = [name for name, value in row.items() if value != value]  # NaN: precomputed statistics don't tell
    write_csv(args.output, COLUMNS, [row | dict.fromkeys(unknown)])


def _read_samples(path):
    from ..evaluation.metrics import read_npz
    from ..system.errors import UserError

    arrays = read_npz(path)
    if "arr_0" not in arrays:
        raise UserError(f"{path}: no arr_0 in it: must hold uint8 images (N, H, W, 3) under that name")
    images = arrays["arr_0"]
    if images.dtype.name != "uint8" or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"{path}: arr_0 is {images.dtype} {images.shape}: must be uint8 (N, H, W, 3)")
    return images
