"""Images -> latents.

In:  DATA_JSON, the `data` section of a configuration as a JSON file or as JSON itself: name, source (mnist, folder,
     zip, tar, parquet), path, resolution, autoencoder (null for pixels, a local folder or a hub id), flips (none,
     both), broken (error, skip).
Out: FOLDER with mean.npy, std.npy (where the autoencoder has a posterior), labels.npy and, written last, manifest.json.

With --shards N the pictures are encoded in N parts, each in FOLDER/shards/, which are then merged and removed; started
again, it leaves finished parts as they are. Parts can run side by side, on several machines too: one command each with
--shard i/N, then the one with --shards N to merge them; --list before all spares each of them listing the source. The
store is the same, bit for bit, with any number of shards or workers. Without --shards an encoding that was cut short
leaves nothing; run again, it starts afresh. SIGTERM and Ctrl-C stop it within a batch, with exit status 75.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from ..data.autoencoder import Summary, chunks_of, encoded, make_encoder
from ..data.latents_writer import StoreWriter
from ..data.pictures import Source, open_source, save_index
from ..data.shards import Shards
from ..experiment.grid import read_data
from ..system.console import Progress
from ..system.device import add_device_argument
from ..system.errors import UserError
from ..system.interruption import STATUS, Interrupted, Interruption, snakemake_ancestors
from ..system.lock import exclusive


def add_arguments(parser) -> None:
    parser.add_argument("data", metavar="DATA_JSON", help="the data section: a JSON file, or the JSON itself")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the latent store to write")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--shards", type=_count, metavar="N", help="encode in N parts those not yet finished, and merge")
    parts.add_argument("--shard", type=_part, metavar="i/N", help="encode the i-th of N parts, counted from 1")
    parts.add_argument("--list", action="store_true", help="list the pictures, for shards to come; encode none")
    parser.add_argument("--workers", type=_count_or_none, default=0, metavar="N", help="processes that decode (none)")
    add_device_argument(parser, "the autoencoder")


def main(args) -> int:
    started = time.monotonic()
    data = read_data(args.data)
    try:
        index = Path(args.output) / "shards" / "index.npz"
        source = open_source(data, index if (args.shard or args.shards) and index.exists() else None)
        if args.list:
            save_index(source, index)
            print(f"encode: listed {len(source):,} images of {len(source.classes)} classes: {index}")
            return 0
        with Interruption(snakemake_ancestors()) as interruption:
            how = {"device": args.device, "workers": args.workers, "check": interruption.check}
            if args.shard:
                shard, shards = args.shard
                wrote = encode_shard(source, data, args.output, shard, shards, **how)
                state = f"finished in {time.monotonic() - started:.1f} s" if wrote else "was finished before"
                print(f"encode: shard {shard} of {shards} {state}")
                return 0
            if args.shards:
                manifest = encode_in_shards(source, data, args.output, args.shards, **how)
            else:
                manifest = encode(source, data, args.output, **how)
    except (Interrupted, KeyboardInterrupt) as reason:
        stays = "finished shards stay" if args.shard or args.shards else "without --shards nothing is kept"
        print(f"mpdit encode: stopped: {reason or 'SIGINT received'}; {stays}; run again to go on", file=sys.stderr)
        return STATUS
    except OSError as error:
        raise UserError(f"{error.filename or args.output}: {error.strerror}: must be writable") from None
    skipped = f", {len(manifest['skipped'])} broken pictures left out" if manifest["skipped"] else ""
    print(
        f"encode: {manifest['count']:,} images of {len(manifest['classes'])} classes as {tuple(manifest['shape'])} "
        f"{manifest['dtype']} in {time.monotonic() - started:.1f} s{skipped}: {args.output}"
    )
    return 0


def encode(
    source: Source,
    data: Mapping,
    folder: str | Path,
    device: str = "auto",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> dict:
    """Write the latents of `source` to `folder` in one go; return the manifest.

    Rows are in the source's order; with `flips: both` each picture is followed by its mirror image. Memory holds a few
    chunks, whatever the source. `check` is called between chunks; what it raises stops the encoding. UserError, with
    nothing left behind, for pictures, labels, autoencoders and disks that won't do.
    """
    summary, done = Summary(source), 0
    encoder, autoencoder = make_encoder(data, source.channels, device)
    chunks, progress = chunks_of(len(source), data["resolution"]), Progress("encode", len(source))
    capacity = len(source) * (2 if data["flips"] == "both" else 1)
    with exclusive(Path(folder) / ".lock"), StoreWriter(folder, capacity) as store:
        for chunk in encoded(source, data, chunks, encoder, workers, check):
            store.append(**chunk.arrays)
            summary.add(chunk)
            done += chunk.pictures
            progress.update(done)
        summary.check()
        manifest = summary.manifest(data, autoencoder, store.description)
        store.commit(manifest)
    return manifest


def encode_shard(
    source: Source,
    data: Mapping,
    folder: str | Path,
    shard: int,
    shards: int,
    device: str = "auto",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> bool:
    """Encode one shard of the store `folder`, as `encode` would its pictures; False if it was finished before."""
    make = partial(make_encoder, data, source.channels, device)
    return Shards(source, data, folder, shards).write(shard, make, workers, check)


def encode_in_shards(
    source: Source,
    data: Mapping,
    folder: str | Path,
    shards: int,
    device: str = "auto",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> dict:
    """The same store as `encode` writes, by way of shards: those that are finished already are not encoded again."""
    make = cache(partial(make_encoder, data, source.channels, device))  # loaded once, and not for a mere merge
    parts = Shards(source, data, folder, shards)
    for shard in range(1, shards + 1):
        parts.write(shard, make, workers, check)
    return parts.merge(check)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def _count_or_none(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _part(text: str) -> tuple[int, int]:
    shard, _, shards = text.partition("/")
    if not (shard.isdigit() and shards.isdigit() and 1 <= int(shard) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text}: must be i/N with i from 1 to N, such as 3/8")
    return int(shard), int(shards)
