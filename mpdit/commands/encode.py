"""Encode images into latents.

In:  DATA_JSON, the `data` section of a configuration, as a JSON file or as JSON itself: name, source (mnist, folder,
     zip, tar, parquet), path, resolution, autoencoder (null for pixels, a local folder or a hub id), flips (none,
     both), broken (error, skip), links (that lead out of a folder: error, follow), holdout (pictures per class that are
     left out, or the path of others; null).
Out: FOLDER with mean.npy, std.npy (if the autoencoder has a posterior), labels.npy and, written last, manifest.json.

With --heldout the pictures that `holdout` leaves out or names are encoded instead, never mirrored.

With --shards N the pictures are encoded in N shards, each in FOLDER/shards/, which are then merged and removed; shards
that are finished already are not encoded again. To encode shards side by side, also on several machines, run one
command per shard with --shard i/N, then one with --shards N to merge them; run --list first, so that not each of them
lists the source. The latents are the same, bit for bit, for any number of shards and workers. Without --shards an
interrupted encoding leaves nothing and starts from the beginning when it is run again. SIGTERM and Ctrl-C stop within a
batch, with exit status 75.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..data.encode import encode
from ..data.holdout import heldout_data, heldout_source
from ..data.shards import encode_in_shards, encode_shard
from ..data.sources import PictureSource, open_source, save_index
from ..experiment.known_source import Finding, remember
from ..experiment.parse import read_data
from ..experiment.records import Manifest
from ..experiment.schema import Data
from ..results.finished_runs import require_latents_of_runs
from ..system.device import add_device_argument
from ..system.errors import UserError
from ..system.interruption import STATUS, Interrupted, Interruption, snakemake_ancestors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA_JSON", help="the data section: a JSON file, or the JSON itself")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the latents folder to write")
    parser.add_argument("--known", type=Path, metavar="JSON", help="where to record which pictures these are")
    parser.add_argument(
        "--runs", type=Path, metavar="FOLDER", help="run folders; latents that are not those of a run here are refused"
    )
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--shards", type=_positive, metavar="N", help="encode those of N shards that are not finished yet, and merge"
    )
    parts.add_argument("--shard", type=_shard, metavar="i/N", help="encode shard i of N, counted from 1")
    parts.add_argument("--heldout", action="store_true", help="encode the held-out pictures, in one go")
    parts.add_argument("--list", action="store_true", help="only list the pictures, for shards encoded later")
    parser.add_argument(
        "--workers", type=_natural, default=0, metavar="N", help="processes that decode pictures (none)"
    )
    add_device_argument(parser, "the autoencoder")


def main(args: argparse.Namespace) -> int:
    data = read_data(args.data)
    try:
        print(f"encode: {_list(args, data) if args.list else _encode(args, data)}")
    except (Interrupted, KeyboardInterrupt) as reason:
        kept = "finished shards are kept" if args.shard or args.shards else "nothing is kept without --shards"
        print(f"mpdit encode: stopped: {reason or 'SIGINT received'}; {kept}; run again to continue", file=sys.stderr)
        return STATUS
    except OSError as error:
        raise UserError(f"{error.filename or args.output}: cannot be written ({error.strerror})") from None
    return 0


def _index(args: argparse.Namespace) -> Path:
    return Path(args.output) / "shards" / "index.npz"


def _list(args: argparse.Namespace, data: Data) -> str:
    """Write the index of the pictures; the message about it."""
    found = _finding(args, data)
    source = open_source(data)
    _remember(args, found, source)
    save_index(source, _index(args))
    return f"listed {len(source):,} images of {len(source.classes)} classes: {_index(args)}"


def _encode(args: argparse.Namespace, data: Data) -> str:
    """Encode everything or one shard; the message about it."""
    started, found = time.monotonic(), _finding(args, data)
    if args.heldout:
        source, data = heldout_source(data), heldout_data(data)
    else:
        use_index = (args.shard or args.shards) and _index(args).exists()
        source = open_source(data, _index(args) if use_index else None)
    if not args.shard:
        _remember(args, found, source)
    with Interruption(snakemake_ancestors()) as interruption:
        check: Callable[[], None] = interruption.check

        def approve(manifest: Manifest) -> None:
            if args.runs is not None and not args.heldout:
                require_latents_of_runs(args.runs, Path(args.output), manifest.fingerprint)

        if args.shard:
            shard, count = args.shard
            encoded = encode_shard(source, data, args.output, shard, count, args.device, args.workers, check)
            state = f"finished in {time.monotonic() - started:.1f} s" if encoded else "was finished before"
            return f"shard {shard} of {count} {state}"
        if args.shards:
            manifest = encode_in_shards(
                source, data, args.output, args.shards, args.device, args.workers, check, approve
            )
        else:
            manifest = encode(source, data, args.output, args.device, args.workers, check, approve)
    skipped = f", {len(manifest.skipped)} broken pictures left out" if manifest.skipped else ""
    return (
        f"{manifest.count:,} images of {len(manifest.classes)} classes as {manifest.shape} "
        f"{manifest.dtype} in {time.monotonic() - started:.1f} s{skipped}: {args.output}"
    )


def _finding(args: argparse.Namespace, data: Data) -> Finding:
    """The path of the pictures that are to be encoded, before they are listed."""
    if args.heldout and isinstance(data.holdout, str):
        return Finding.of("data.holdout", data.holdout)
    return Finding.of("data.path", data.path)


def _remember(args: argparse.Namespace, found: Finding, source: PictureSource) -> None:
    """Record which pictures are encoded. UserError if the name of their latents stands for others."""
    if args.known is not None:
        remember(args.known, found, source.fingerprint)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    shard, _, count = text.partition("/")
    if not (shard.isdecimal() and count.isdecimal() and 1 <= int(shard) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected i/N with i from 1 to N, such as 3/8, got {text!r}")
    return int(shard), int(count)
