"""Pictures -> what the latent store keeps of them, chunk by chunk, and what its manifest says of them all.

A chunk is a fixed number of consecutive pictures of the source. It is the unit of everything whose last bits could
depend on how the work is divided: what goes through an autoencoder at once (its output depends on that a little),
statistics and hashes. So a store is the same, bit for bit, whatever the number of shards and of workers. Torch is
imported for autoencoders only.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..system.device import choose_device
from ..system.errors import UserError
from .decode_workers import decoded
from .moments import Moments, channel_moments
from .pictures import FILTER, SOURCES, Picture, Source

CHUNK = 64  # pictures at most, and
PIXELS = 32 * 128**2  # so many at most, but for one picture: some 1 GB of activations in the SD-VAE

# uint8 crops (B, R, R, C) and the pictures' names -> {"mean": (B, C', H, W), "std": the same, where there is one}
Encoder = Callable[[np.ndarray, list[str]], dict[str, np.ndarray]]


def chunks_of(count: int, resolution: int) -> list[range]:
    """`count` pictures in chunks of consecutive indices, the last one perhaps shorter."""
    size = chunk_size(resolution)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def chunk_size(resolution: int) -> int:
    """Pictures a chunk: 64 up to 90 pixels, 32 at 128, 8 at 256, 1 from 513. It depends on nothing else."""
    return max(1, min(CHUNK, PIXELS // resolution**2))


class Chunk(NamedTuple):
    """What is stored of consecutive pictures."""

    arrays: dict[str, np.ndarray]  # mean, perhaps std, labels: a row a picture (two with flips); none if all are broken
    moments: Moments | None  # of the rows, per channel
    contents: bytes  # sha256 over the pictures' identities, 32 bytes
    skipped: list[str]  # names of broken pictures
    pictures: int


def encoded(
    source: Source,
    data: Mapping,
    chunks: Sequence[range],
    encoder: Encoder,
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Chunk]:
    """The chunks, encoded in order. With `flips: both` each picture's row is followed by its mirror image's."""
    for batch in decoded(source, data, chunks, workers, check):
        yield _encode_chunk(batch, encoder, data)


def _encode_chunk(batch: list[Picture], encoder: Encoder, data: Mapping) -> Chunk:
    contents = hashlib.sha256()
    for picture in batch:
        contents.update(f"{picture.identity}\n".encode("utf-8", "surrogateescape"))
    skipped = [picture.name for picture in batch if picture.broken]
    whole = [picture for picture in batch if not picture.broken]
    if not whole:
        return Chunk({}, None, contents.digest(), skipped, len(batch))
    crops, names = np.stack([picture.crop for picture in whole]), [picture.name for picture in whole]  # (B, R, R, C)
    views = [encoder(crops, names)]
    if data["flips"] == "both":
        views.append(encoder(crops[:, :, ::-1], names))
    arrays = {key: np.stack([view[key] for view in views], axis=1) for key in views[0]}  # (B, views, C', H, W)
    arrays = {key: array.reshape(-1, *array.shape[2:]) for key, array in arrays.items()}
    arrays["labels"] = np.repeat(np.array([picture.label for picture in whole], dtype=np.int64), len(views))
    raw = arrays["mean"] if data["autoencoder"] else arrays["mean"] / 127.5 - 1  # (B * views, C', H, W)
    moments = channel_moments(raw, arrays.get("std"))
    return Chunk(arrays, moments, contents.digest(), skipped, len(batch))


class Summary:
    """What the manifest says of all pictures together, gathered chunk by chunk in the source's order."""

    def __init__(self, source: Source):
        outside = (source.labels < 0) | (source.labels >= len(source.classes))
        if outside.any():
            index = int(outside.argmax())
            raise UserError(
                f"{source.where}: {source.names[index]}: label {source.labels[index]}: "
                f"must be 0 to {len(source.classes) - 1}, as there are {len(source.classes)} classes"
            )
        self.source = source
        self.per_class = np.zeros(len(source.classes), dtype=np.int64)
        self.contents, self.skipped = hashlib.sha256(), []
        self.moments: Moments | None = None

    def add(self, chunk: Chunk) -> None:
        if chunk.arrays:
            self.add_labels(chunk.arrays["labels"])
            self.add_moments(chunk.moments)
        self.contents.update(chunk.contents)
        self.skipped += chunk.skipped

    def add_labels(self, labels: np.ndarray) -> None:
        self.per_class += np.bincount(labels, minlength=len(self.per_class))

    def add_moments(self, moments: Moments) -> None:
        self.moments = moments if self.moments is None else self.moments + moments

    def check(self) -> None:
        """UserError where a class is empty or a channel constant: nothing could be trained on that."""
        for name, count in zip(self.source.classes, self.per_class, strict=True):
            if count == 0:
                raise UserError(
                    f"{self.source.where}: {name}: class without a readable picture: must have at least one"
                )
        for channel, deviation in enumerate(self.moments.std):
            if deviation < 1e-9:  # not 0, because means are rounded
                raise UserError(
                    f"{self.source.where}: channel {channel} is the same everywhere: must vary to be whitened"
                )

    def manifest(self, data: Mapping, autoencoder: dict | None, arrays: Mapping[str, dict]) -> dict:
        """The store's manifest. `arrays` is `StoreWriter.description`: dtype, shape of a row and digest of each.

        Its `fingerprint` hashes what the latents are (arrays, classes, preprocessing, autoencoder), not where they came
        from; statistics follow from the arrays.
        """
        manifest = {
            "version": 1,
            "name": data["name"],
            "source": {
                "kind": self.source.kind,
                "path": Path(data["path"]).name if data["path"] else None,
                "fingerprint": self.contents.hexdigest(),
                "class_order": SOURCES[self.source.kind].class_order,
            },
            "count": int(self.per_class.sum()),
            "skipped": self.skipped,
            "shape": arrays["mean"]["shape"],
            "classes": list(self.source.classes),
            "resolution": data["resolution"],
            "filter": FILTER,
            "crop": "center",
            "flips": data["flips"],
            "autoencoder": autoencoder,
            "posterior": "std" in arrays,
            "dtype": arrays["mean"]["dtype"],
            "channel_mean": self.moments.mean.tolist(),
            "channel_std": self.moments.std.tolist(),
        }
        keys = ("version", "count", "shape", "classes", "resolution", "filter", "crop", "flips", "posterior", "dtype")
        identity = {key: manifest[key] for key in keys}
        identity["arrays"] = {name: array["digest"] for name, array in arrays.items()}
        if autoencoder:
            identity["autoencoder"] = {key: value for key, value in autoencoder.items() if key != "id"}
        manifest["fingerprint"] = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return manifest


# What is stored of a batch of crops


def make_encoder(data: Mapping, channels: int, device: str = "auto") -> tuple[Encoder, dict | None]:
    """The encoder that `data` asks for, and what the manifest says of its autoencoder (None for pixels)."""
    if data["autoencoder"] is None:
        return _encode_pixels, None
    return _autoencoder_encoder(data["autoencoder"], data["resolution"], channels, device)


def _encode_pixels(crops: np.ndarray, _names: list[str]) -> dict[str, np.ndarray]:
    return {"mean": np.ascontiguousarray(crops.transpose(0, 3, 1, 2))}


def _autoencoder_encoder(name: str, resolution: int, channels: int, device: str) -> tuple[Encoder, dict]:
    import torch  # here, so that pixels need not wait for it

    from .latents import describe_autoencoder, downsampling, encode_images, load_autoencoder

    chosen = choose_device(device)
    autoencoder = load_autoencoder(name, chosen)
    if resolution % downsampling(autoencoder):
        raise UserError(f"data.resolution: {resolution}: must be a multiple of {downsampling(autoencoder)} for {name}")
    wanted = autoencoder.config.in_channels
    if channels not in (1, wanted):
        raise UserError(f"data.autoencoder: {name}: takes {wanted} channels: must take {channels}")
    size = chunk_size(resolution)

    def encode_crops(crops: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        padded = np.zeros((size, *crops.shape[1:]), dtype=np.uint8)  # always as many, for the same last bits
        padded[: len(crops)] = crops
        batch = torch.from_numpy(padded).to(chosen).permute(0, 3, 1, 2)
        encoded = encode_images(autoencoder, batch.expand(-1, wanted, -1, -1))
        stored = {
            key: latent[: len(crops)].half().cpu()
            for key, latent in zip(("mean", "std"), encoded, strict=True)
            if latent is not None
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
