"""Encoding in shards that run side by side, each encoded once: a shard's folder, its manifest, and their merge.

Shard i of N holds the i-th of N runs of consecutive chunks, about equally long, in a folder of its own. Beside the
arrays of latents it holds `statistics.npy` (float64) and `contents.npy` (SHA-256 of the pictures), each with one row
per chunk, from which the merge derives the latents' manifest exactly as one process would have. A shard is finished
when its manifest.json, written last, exists; the latents are finished when theirs does. Only then are the shards
removed.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..experiment.records import AutoencoderRecord, JsonRecord, Manifest
from ..experiment.run_files import MANIFEST
from ..experiment.schema import Data
from ..system.console import Progress
from ..system.errors import UserError
from ..system.lock import exclusive
from .encode import (
    ManifestBuilder,
    chunk_size,
    chunks_of,
    encoded_chunks,
    make_encoder,
    rows_per_picture,
)
from .latents_writer import FORMAT_VERSION, ArrayRecord, LatentsWriter, read_rows
from .moments import Moments
from .pictures import FILTER
from .sources import PictureSource, check_labels

if TYPE_CHECKING:
    from .autoencoder import CropEncoder

REMEDY = "delete that folder and run again"
LATENTS_ARRAYS = ("mean", "std", "labels")  # a shard's arrays that are copied to the latents


def encode_shard(
    source: PictureSource,
    data: Data,
    folder: str | Path,
    shard: int,
    count: int,
    device: str = "auto",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
) -> bool:
    """Encode shard `shard`, counted from 1, of the `count` shards of the latents folder `folder`.

    Returns False if it was finished before. `device`, `workers` and `check` are those of `encode`.
    """
    load_encoder = partial(make_encoder, data, source.channels, device)
    return Shards(source, data, folder, count).encode(shard, load_encoder, workers, check)


def encode_in_shards(
    source: PictureSource,
    data: Data,
    folder: str | Path,
    count: int,
    device: str = "auto",
    workers: int = 0,
    check: Callable[[], None] = lambda: None,
    approve: Callable[[Manifest], None] = lambda manifest: None,
) -> Manifest:
    """Write the same latents as `encode` by way of `count` shards, encoding only those that are not finished yet."""
    load_encoder = cache(partial(make_encoder, data, source.channels, device))  # at most once
    shards = Shards(source, data, folder, count)
    for shard in range(1, count + 1):
        shards.encode(shard, load_encoder, workers, check)
    return shards.merge(check, approve)


@dataclass(frozen=True)
class ShardIdentity(JsonRecord):
    """Which pictures a shard holds, and how they are preprocessed: what decides whether it can be merged."""

    written_by = "mpdit encode"

    version: int
    listing: str  # SHA-256 of the source's listing
    pictures: tuple[int, ...]  # the first, and one after the last; empty for a shard without pictures
    resolution: int  # pixels
    filter: str
    crop: str
    flips: str
    chunk: int  # pictures per chunk


@dataclass(frozen=True)
class ShardManifest(ShardIdentity):
    """manifest.json of a shard."""

    autoencoder: AutoencoderRecord | None  # None: pixels
    skipped: tuple[str, ...]  # names of broken pictures
    arrays: dict[str, ArrayRecord]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "autoencoder": self.autoencoder and self.autoencoder.to_json()}

    @property
    def weights_hash(self) -> str | None:
        return None if self.autoencoder is None else self.autoencoder.hash


class Shards:
    """The `count` shards of the latents folder `folder`, numbered from 1."""

    def __init__(self, source: PictureSource, data: Data, folder: str | Path, count: int):
        self.source, self.data, self.folder, self.count = source, data, Path(folder), count

    def shard_folder(self, shard: int) -> Path:
        return self.folder / "shards" / f"{shard}-of-{self.count}"

    def encode(
        self,
        shard: int,
        load_encoder: "Callable[[], tuple[CropEncoder, AutoencoderRecord | None]]",
        workers: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Encode one shard. Returns False if it was finished before; then only its manifest is read and compared.

        `load_encoder` is called only if the encoder is needed. Raises UserError when the finished shard is of other
        data, and whatever `encoded_chunks` raises, leaving nothing behind.
        """
        check_labels(self.source)
        folder, chunks = self.shard_folder(shard), self._chunks(shard)
        pictures, skipped, done = sum(map(len, chunks)), [], 0
        with exclusive(folder / ".lock"):
            if (folder / MANIFEST).exists():
                self._read_manifest(shard)
                return False
            encoder, autoencoder = load_encoder()
            progress = Progress(f"encode {shard}/{self.count}", pictures)
            with LatentsWriter(folder, capacity=pictures * rows_per_picture(self.data)) as writer:
                for chunk in encoded_chunks(self.source, self.data, chunks, encoder, workers, check):
                    writer.append(**chunk.arrays, contents=np.frombuffer(chunk.content_hash, np.uint8)[None])
                    if chunk.moments is not None:
                        writer.append(statistics=_moments_to_row(chunk.moments)[None])
                    skipped += chunk.skipped
                    done += chunk.pictures
                    progress.update(done)
                identity = self._identity(shard)
                writer.commit(
                    ShardManifest(
                        **vars(identity), autoencoder=autoencoder, skipped=tuple(skipped), arrays=writer.records
                    )
                )
        return True

    def merge(
        self,
        check: Callable[[], None] = lambda: None,
        approve: Callable[[Manifest], None] = lambda manifest: None,
    ) -> Manifest:
        """Write the latents from their finished shards, remove these, and return the latents' manifest.

        Every array is read once, in blocks, and verified against its shard's manifest meanwhile. Raises UserError,
        leaving all shards as they are, for one that is unfinished, damaged, or of other pictures, preprocessing or
        autoencoder.
        """
        check_labels(self.source)
        builder, rows = ManifestBuilder(self.source), len(self.source) * rows_per_picture(self.data)
        manifests = [self._read_manifest(shard) for shard in range(1, self.count + 1)]
        first, progress = manifests[0], Progress("merge", rows)
        with exclusive(self.folder / ".lock"), LatentsWriter(self.folder, capacity=rows) as writer:
            for shard, manifest in enumerate(manifests, start=1):
                self._compare(shard, "autoencoder", manifest.weights_hash, first.weights_hash,
                              f"as in {self.shard_folder(1)}")  # fmt: skip
                for name, record in manifest.arrays.items():
                    for block in read_rows(self.shard_folder(shard) / f"{name}.npy", record):
                        check()
                        if name in LATENTS_ARRAYS:
                            writer.append(**{name: block})
                        _gather(builder, name, block)
                        progress.update(int(builder.rows_per_class.sum()))
                builder.skipped += manifest.skipped
            autoencoder = first.autoencoder
            if autoencoder is not None and self.data.autoencoder is not None:
                autoencoder = replace(autoencoder, id=self.data.autoencoder)  # the same weights, perhaps moved
            merged = builder.build(self.data, autoencoder, writer.records)
            approve(merged)
            writer.commit(merged)
        shutil.rmtree(self.folder / "shards")
        return merged

    def _chunks(self, shard: int) -> list[range]:
        chunks = chunks_of(len(self.source), self.data.resolution)
        return chunks[len(chunks) * (shard - 1) // self.count : len(chunks) * shard // self.count]

    def _identity(self, shard: int) -> ShardIdentity:
        chunks = self._chunks(shard)
        return ShardIdentity(
            version=FORMAT_VERSION,
            listing=self._listing_hash,
            pictures=(chunks[0].start, chunks[-1].stop) if chunks else (),
            resolution=self.data.resolution,
            filter=FILTER,
            crop="center",
            flips=self.data.flips,
            chunk=chunk_size(self.data.resolution),
        )

    @cached_property
    def _listing_hash(self) -> str:
        """SHA-256 over the classes, and all pictures' names and labels in order."""
        digest = hashlib.sha256("\n".join(self.source.classes).encode("utf-8", "surrogateescape"))
        for name, label in zip(self.source.names, self.source.labels, strict=True):
            digest.update(f"\0{label}\0{name}".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _read_manifest(self, shard: int) -> ShardManifest:
        """The manifest of a finished shard. Raises UserError where it is of other data than the ones to encode."""
        folder = self.shard_folder(shard)
        if not (folder / MANIFEST).exists():
            raise UserError(f"{folder}: unfinished; {REMEDY}")
        try:
            manifest = ShardManifest.read(folder / MANIFEST)
        except UserError as error:
            raise UserError(f"{error}; {REMEDY}") from None
        identity = self._identity(shard)
        for field in fields(identity):
            expected = getattr(identity, field.name)
            self._compare(shard, field.name, getattr(manifest, field.name), expected, "for the data as they are now")
        stored, wanted = ("none" if value is None else "one" for value in (manifest.autoencoder, self.data.autoencoder))
        self._compare(shard, "autoencoder", stored, wanted, "as in data.autoencoder")
        return manifest

    def _compare(self, shard: int, field: str, value: object, expected: object, reason: str) -> None:
        if value != expected:
            shown, expected_shown = (text[:12] if isinstance(text, str) else text for text in (value, expected))
            raise UserError(
                f"{self.shard_folder(shard)}: {field} is {shown}, expected {expected_shown} {reason}; {REMEDY}"
            )


def _gather(builder: ManifestBuilder, name: str, block: np.ndarray) -> None:
    if name == "labels":
        builder.add_labels(block)
    elif name == "contents":
        builder.content.update(block.tobytes())
    elif name == "statistics":
        for row in block:
            builder.add_moments(_moments_from_row(row))


def _moments_to_row(moments: Moments) -> NDArray[np.float64]:
    """(1 + 2C,) float64: count, mean and scatter, from which `_moments_from_row` restores the same bits."""
    return np.concatenate([[moments.count], moments.mean, moments.scatter])


def _moments_from_row(row: NDArray[np.float64]) -> Moments:
    mean, scatter = np.split(row[1:], 2)
    return Moments(int(row[0]), mean, scatter)
