"""Pictures -> a latents folder, chunk by chunk.

A chunk is a fixed number of consecutive pictures of the source. It is the unit of everything whose last bits could
depend on how the work is divided: the batches of an autoencoder (whose output depends on the batch size a little),
statistics and hashes. Latents are therefore the same, bit for bit, for any number of shards and workers. Torch is
imported only for autoencoders.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..experiment.records import AutoencoderRecord, Manifest, SourceRecord
from ..experiment.schema import Data
from ..system.console import Progress
from ..system.errors import UserError
from ..system.lock import exclusive
from .decode_workers import decoded_chunks
from .latents_writer import FORMAT_VERSION, ArrayRecord, LatentsWriter
from .moments import Moments, channel_moments
from .pictures import FILTER, Picture
from .sources import SOURCES, PictureSource, check_labels

if TYPE_CHECKING:
    from .autoencoder import CropEncoder

CHUNK = 64  # largest number of pictures in a chunk
CHUNK_PIXELS = 32 * 128**2  # largest number of pixels in one (unless one picture has more): 1 GB of SD-VAE activations


def encode(
    source: PictureSource,
    data: Data,
    folder: str | Path,
    device: str = "auto",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
    approve: Callable[[Manifest], None] = lambda manifest: None,
) -> Manifest:
    """Write the latents of `source` to `folder` in one go, and return the manifest.

    Rows are in the source's order; with `flips: both` each picture is followed by its mirror image. Memory holds a few
    chunks, however large the source. `check` is called between chunks, `approve` before anything is moved into place;
    an exception from either stops the encoding. Raises UserError, leaving nothing behind, for broken pictures, wrong
    labels, unsuitable autoencoders and full disks.
    """
    check_labels(source)
    builder, done = ManifestBuilder(source), 0
    encoder, autoencoder = make_encoder(data, source.channels, device)
    chunks, progress = chunks_of(len(source), data.resolution), Progress("encode", len(source))
    capacity = len(source) * rows_per_picture(data)
    with exclusive(Path(folder) / ".lock"), LatentsWriter(folder, capacity) as writer:
        for chunk in encoded_chunks(source, data, chunks, encoder, workers, check):
            writer.append(**chunk.arrays)
            builder.add(chunk)
            done += chunk.pictures
            progress.update(done)
        manifest = builder.build(data, autoencoder, writer.records)
        approve(manifest)
        writer.commit(manifest)
    return manifest


def rows_per_picture(data: Data) -> int:
    """2 where every picture is stored mirrored as well, else 1."""
    return 2 if data.flips == "both" else 1


# ---------------------------------------------------------------------------------------------------------------------
# Chunks


def chunks_of(count: int, resolution: int) -> list[range]:
    """Consecutive ranges of the indices of `count` pictures; the last one may be shorter."""
    size = chunk_size(resolution)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def chunk_size(resolution: int) -> int:
    """Pictures per chunk: 64 up to 90 pixels, 32 at 128, 8 at 256, 1 from 513. It depends on nothing else."""
    return max(1, min(CHUNK, CHUNK_PIXELS // resolution**2))


class Chunk(NamedTuple):
    """What is stored of consecutive pictures."""

    arrays: dict[str, np.ndarray]  # mean, labels and perhaps std, one row per view of a picture; {} if all are broken
    moments: Moments | None  # of the raw values per channel; None if all pictures are broken
    content_hash: bytes  # SHA-256 over the pictures' identities, 32 bytes
    skipped: list[str]  # names of broken pictures
    pictures: int


def encoded_chunks(
    source: PictureSource,
    data: Data,
    chunks: Sequence[range],
    encoder: "CropEncoder",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Chunk]:
    """The chunks, encoded in order; with `flips: both` each picture's row is followed by its mirror image's."""
    for pictures in decoded_chunks(source, data, chunks, workers, check):
        yield _encode_chunk(pictures, encoder, data)


def _encode_chunk(pictures: list[Picture], encoder: "CropEncoder", data: Data) -> Chunk:
    content = hashlib.sha256()
    for picture in pictures:
        content.update(f"{picture.identity}\n".encode("utf-8", "surrogateescape"))
    skipped = [picture.name for picture in pictures if picture.crop is None]
    usable = [(picture.crop, picture.name, picture.label) for picture in pictures if picture.crop is not None]
    if not usable:
        return Chunk({}, None, content.digest(), skipped, len(pictures))
    crops, names = np.stack([crop for crop, _, _ in usable]), [name for _, name, _ in usable]  # (B, R, R, C)
    views = [encoder(crops, names)]
    if data.flips == "both":
        views.append(encoder(crops[:, :, ::-1], names))
    arrays = {key: np.stack([view[key] for view in views], axis=1) for key in views[0]}  # (B, views, C', H, W)
    arrays = {key: array.reshape(-1, *array.shape[2:]) for key, array in arrays.items()}
    arrays["labels"] = np.repeat(np.array([label for _, _, label in usable], dtype=np.int64), len(views))
    raw = arrays["mean"] if data.autoencoder else arrays["mean"] / 127.5 - 1  # (B * views, C', H, W)
    moments = channel_moments(raw, arrays.get("std"))
    return Chunk(arrays, moments, content.digest(), skipped, len(pictures))


def make_encoder(data: Data, channels: int, device: str = "auto") -> "tuple[CropEncoder, AutoencoderRecord | None]":
    """The encoder that `data` asks for, and what the manifest says of its autoencoder (None for pixels)."""
    if data.autoencoder is None:
        return _encode_pixels, None
    from .autoencoder import latents_encoder  # here, so that pixels do not wait for torch

    return latents_encoder(data.autoencoder, data.resolution, channels, chunk_size(data.resolution), device)


def _encode_pixels(crops: NDArray[np.uint8], _names: list[str]) -> dict[str, np.ndarray]:
    return {"mean": np.ascontiguousarray(crops.transpose(0, 3, 1, 2))}


# ---------------------------------------------------------------------------------------------------------------------
# The manifest


class ManifestBuilder:
    """Gathers, chunk by chunk in the source's order, what the manifest says of all pictures together."""

    def __init__(self, source: PictureSource):
        self.source = source
        self.rows_per_class = np.zeros(len(source.classes), dtype=np.int64)
        self.content = hashlib.sha256()
        self.skipped: list[str] = []
        self.moments: Moments | None = None

    def add(self, chunk: Chunk) -> None:
        if chunk.moments is not None:
            self.add_labels(chunk.arrays["labels"])
            self.add_moments(chunk.moments)
        self.content.update(chunk.content_hash)
        self.skipped += chunk.skipped

    def add_labels(self, labels: NDArray[np.int64]) -> None:
        self.rows_per_class += np.bincount(labels, minlength=len(self.rows_per_class))

    def add_moments(self, moments: Moments) -> None:
        self.moments = moments if self.moments is None else self.moments + moments

    def build(self, data: Data, autoencoder: AutoencoderRecord | None, arrays: Mapping[str, ArrayRecord]) -> Manifest:
        """The manifest; `arrays` are the records of the written arrays.

        Raises UserError where a class is empty or a channel constant, because nothing could be trained on that.
        """
        moments = self._checked_moments()
        source = SourceRecord(
            kind=self.source.kind,
            path=Path(data.path).name if data.path else None,
            fingerprint=self.content.hexdigest(),
            class_order=SOURCES[self.source.kind].class_order,
            listing=self.source.fingerprint,
        )
        manifest = Manifest(
            version=FORMAT_VERSION,
            name=data.name,
            source=source,
            count=int(self.rows_per_class.sum()),
            skipped=tuple(self.skipped),
            shape=arrays["mean"].shape,
            classes=tuple(self.source.classes),
            resolution=data.resolution,
            filter=FILTER,
            crop="center",
            flips=data.flips,
            autoencoder=autoencoder,
            posterior="std" in arrays,
            dtype=arrays["mean"].dtype,
            channel_mean=tuple(moments.mean.tolist()),
            channel_std=tuple(moments.std.tolist()),
            fingerprint="",
        )
        return replace(manifest, fingerprint=_fingerprint(manifest, arrays))

    def _checked_moments(self) -> Moments:
        for name, rows in zip(self.source.classes, self.rows_per_class, strict=True):
            if rows == 0:
                raise UserError(
                    f"{self.source.location}: class {name} has no readable picture; every class needs at least one"
                )
        assert self.moments is not None, "a source without classes"
        for channel, std in enumerate(self.moments.std):
            if std < 1e-9:  # instead of 0, because means are rounded
                raise UserError(
                    f"{self.source.location}: channel {channel} is the same everywhere, so it cannot be whitened"
                )
        return self.moments


def _fingerprint(manifest: Manifest, arrays: Mapping[str, ArrayRecord]) -> str:
    """SHA-256 of what the latents are (arrays, classes, preprocessing, autoencoder), not of where they came from.

    Statistics are left out, because they follow from the arrays.
    """
    values = manifest.to_json()
    keys = ("version", "count", "shape", "classes", "resolution", "filter", "crop", "flips", "posterior", "dtype")
    identity = {key: values[key] for key in keys}
    identity["arrays"] = {name: array.digest for name, array in arrays.items()}
    if manifest.autoencoder:
        identity["autoencoder"] = {key: value for key, value in values["autoencoder"].items() if key != "id"}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
