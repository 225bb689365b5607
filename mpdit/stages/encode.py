"""Images -> latents.

In:  DATA_JSON, the `data` section of a configuration as a JSON file or as JSON itself: name, source (mnist, folder,
     zip, tar, parquet), path, resolution, autoencoder (null for pixels, a local folder or a hub id), flips (none,
     both), broken (error, skip).
Out: FOLDER with mean.npy, std.npy (where the autoencoder has a posterior), labels.npy and, written last, manifest.json.
     An encoding that was cut short leaves no manifest; run again, it starts afresh.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..experiment import read_data
from ..images import FILTER, SOURCES, Source, open_source, pictures
from ..progress import Progress
from ..store import ChannelStatistics, StoreWriter

# uint8 crops (B, R, R, C) and the pictures' names -> {"mean": (B, C', H, W), "std": the same, where there is one}
Encoder = Callable[[np.ndarray, list[str]], dict[str, np.ndarray]]


def add_arguments(parser) -> None:
    parser.add_argument("data", metavar="DATA_JSON", help="the data section: a JSON file, or the JSON itself")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the latent store to write")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the autoencoder runs")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="pictures encoded at once (64)")


def main(args) -> None:
    data = read_data(args.data)
    if args.batch_size < 1:
        raise UserError(f"--batch-size: {args.batch_size}: must be at least 1")
    started = time.monotonic()
    manifest = encode(open_source(data), data, args.output, args.device, args.batch_size)
    skipped = f", {len(manifest['skipped'])} broken pictures left out" if manifest["skipped"] else ""
    print(
        f"encode: {manifest['count']:,} images of {len(manifest['classes'])} classes as {tuple(manifest['shape'])} "
        f"{manifest['dtype']} in {time.monotonic() - started:.1f} s{skipped}: {args.output}"
    )


def encode(source: Source, data: Mapping, folder: str | Path, device: str = "auto", batch_size: int = 64) -> dict:
    """Write the latents of `source` to `folder`; return the manifest. Memory holds one batch, whatever the source.

    Rows are in the source's order; with `flips: both` each picture is followed by its mirror image. The manifest's
    `fingerprint` hashes what the latents are (arrays, classes, preprocessing, autoencoder), not where they came from.
    UserError, with nothing left behind, for pictures, autoencoders and disks that won't do.
    """
    encoder, autoencoder = _encoder(data, source.channels, device)
    copies = 2 if data["flips"] == "both" else 1
    contents, skipped, per_class = hashlib.sha256(), [], np.zeros(len(source.classes), dtype=np.int64)
    statistics, progress, done = None, Progress("encode", len(source)), 0
    stream = pictures(source, data)
    with StoreWriter(folder, capacity=len(source) * copies) as store:
        while batch := list(islice(stream, batch_size)):
            for picture in batch:
                contents.update(f"{picture.identity}\n".encode("utf-8", "surrogateescape"))
            skipped += [picture.name for picture in batch if picture.broken]
            if whole := [picture for picture in batch if not picture.broken]:
                crops = np.stack([picture.crop for picture in whole])  # (B, R, R, C)
                if copies == 2:
                    crops = np.stack([crops, crops[:, :, ::-1]], axis=1).reshape(-1, *crops.shape[1:])
                labels = np.repeat(np.array([picture.label for picture in whole], dtype=np.int64), copies)
                per_class += np.bincount(labels, minlength=len(per_class))
                latents = encoder(crops, [picture.name for picture in whole for _ in range(copies)])
                store.append(**latents, labels=labels)
                raw = latents["mean"] if autoencoder else latents["mean"] / 127.5 - 1  # (B, C', H, W)
                statistics = statistics or ChannelStatistics(raw.shape[1])
                statistics.update(raw, latents.get("std"))
            done += len(batch)
            progress.update(done)
        _check_contents(source, per_class, statistics)
        manifest = {
            "version": 1,
            "name": data["name"],
            "source": {
                "kind": source.kind,
                "path": Path(data["path"]).name if data["path"] else None,
                "fingerprint": contents.hexdigest(),
                "class_order": SOURCES[source.kind].class_order,
            },
            "count": int(per_class.sum()),
            "skipped": skipped,
            "shape": list(raw.shape[1:]),
            "classes": source.classes,
            "resolution": data["resolution"],
            "filter": FILTER,
            "crop": "center",
            "flips": data["flips"],
            "autoencoder": autoencoder,
            "posterior": "std" in latents,
            "dtype": str(latents["mean"].dtype),
            "channel_mean": statistics.mean.tolist(),
            "channel_std": statistics.std.tolist(),
        }
        manifest["fingerprint"] = _fingerprint(manifest, store.digests)
        store.commit(manifest)
    return manifest


def _check_contents(source: Source, per_class: np.ndarray, statistics: ChannelStatistics | None) -> None:
    for name, count in zip(source.classes, per_class, strict=True):
        if count == 0:
            raise UserError(f"{source.where}: {name}: class without a readable picture: must have at least one")
    for channel, deviation in enumerate(statistics.std):
        if deviation < 1e-9:  # not 0, because means are rounded
            raise UserError(f"{source.where}: channel {channel} is the same everywhere: must vary to be whitened")


def _fingerprint(manifest: Mapping, digests: Mapping[str, str]) -> str:
    """sha256 of what the latents are. Paths, names and statistics (which follow from the arrays) are left out."""
    keys = ("version", "count", "shape", "classes", "resolution", "filter", "crop", "flips", "posterior", "dtype")
    identity = {key: manifest[key] for key in keys} | {"arrays": digests}
    if manifest["autoencoder"]:
        identity["autoencoder"] = {key: value for key, value in manifest["autoencoder"].items() if key != "id"}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


# What is stored of a batch of crops


def _encoder(data: Mapping, channels: int, device: str) -> tuple[Encoder, dict | None]:
    """The encoder that `data` asks for, and what the manifest says of its autoencoder (None for pixels)."""
    if data["autoencoder"] is None:
        return _encode_pixels, None
    return _autoencoder_encoder(data["autoencoder"], data["resolution"], channels, device)


def _encode_pixels(crops: np.ndarray, _names: list[str]) -> dict[str, np.ndarray]:
    return {"mean": np.ascontiguousarray(crops.transpose(0, 3, 1, 2))}


def _autoencoder_encoder(name: str, resolution: int, channels: int, device: str) -> tuple[Encoder, dict]:
    import torch  # here, so that pixels need not wait for it

    from ..latents import describe_autoencoder, downsampling, encode_images, load_autoencoder

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device: cuda: there is none that torch can use: must be cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    autoencoder = load_autoencoder(name, device)
    if resolution % downsampling(autoencoder):
        raise UserError(f"data.resolution: {resolution}: must be a multiple of {downsampling(autoencoder)} for {name}")
    wanted = autoencoder.config.in_channels
    if channels not in (1, wanted):
        raise UserError(f"data.autoencoder: {name}: takes {wanted} channels: must take {channels}")

    def encode_crops(crops: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        batch = torch.from_numpy(crops.copy()).to(device).permute(0, 3, 1, 2)  # a copy: flips have negative strides
        encoded = encode_images(autoencoder, batch.expand(-1, wanted, -1, -1))
        stored = {
            key: latent.half().cpu() for key, latent in zip(("mean", "std"), encoded, strict=True) if latent is not None
        }
        for latent in stored.values():
            finite = latent.isfinite().flatten(1).all(1)
            if not finite.all():
                picture = names[int(finite.logical_not().nonzero()[0])]
                raise UserError(
                    f"data.autoencoder: {name}: latents of {picture} overflow: must be within float16's 65504"
                )
        return {key: latent.numpy() for key, latent in stored.items()}

    return encode_crops, describe_autoencoder(name, autoencoder)
