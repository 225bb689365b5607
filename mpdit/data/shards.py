"""Encoding in parts that run side by side and are done once: a shard's folder, its manifest, and the merge of all.

Shard i of N holds the i-th of N about equal runs of consecutive chunks, in a folder of its own: what a store holds, and
a row a chunk of `statistics.npy` (float64) and `contents.npy` (sha256 of the pictures), from which the merge gathers
what the store's manifest says exactly as one process would have. A shard is finished when its manifest.json, written
last, stands; the store is, when its own does. Only then are the shards removed.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from ..system.console import Progress
from ..system.errors import UserError
from ..system.files import read_json
from ..system.lock import exclusive
from .autoencoder import Encoder, Summary, chunk_size, chunks_of, encoded
from .latents_writer import StoreWriter, read_rows
from .moments import Moments
from .pictures import FILTER, Source

STORED = ("mean", "std", "labels")  # arrays of a shard that are the store's


class Shards:
    """The `count` shards of the store `folder`, numbered from 1. Of the source they hold no more than a listing."""

    def __init__(self, source: Source, data: Mapping, folder: str | Path, count: int):
        self.source, self.data, self.folder, self.count = source, data, Path(folder), count
        self.copies = 2 if data["flips"] == "both" else 1  # rows a picture

    def place(self, shard: int) -> Path:
        return self.folder / "shards" / f"{shard}-of-{self.count}"

    def write(
        self,
        shard: int,
        make_encoder: Callable[[], tuple[Encoder, dict | None]],
        workers: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Encode one shard, unless it is finished already: then only its manifest is read, and False returned.

        The encoder is made only if it is needed. UserError when the finished shard is of something else, and whatever
        `encoding.encoded` raises, with nothing left behind.
        """
        Summary(self.source)  # which looks at the labels
        place, chunks = self.place(shard), self._chunks(shard)
        pictures, skipped, done = sum(map(len, chunks)), [], 0
        with exclusive(place / ".lock"):
            if (place / "manifest.json").exists():
                self._read_manifest(shard)
                return False
            encoder, autoencoder = make_encoder()
            progress = Progress(f"encode {shard}/{self.count}", pictures)
            with StoreWriter(place, capacity=pictures * self.copies) as store:
                for chunk in encoded(self.source, self.data, chunks, encoder, workers, check):
                    store.append(**chunk.arrays, contents=np.frombuffer(chunk.contents, np.uint8)[None])
                    if chunk.arrays:
                        store.append(statistics=_moments_to_row(chunk.moments)[None])
                    skipped += chunk.skipped
                    done += chunk.pictures
                    progress.update(done)
                written = {"autoencoder": autoencoder, "skipped": skipped, "arrays": store.description}
                store.commit(self._identity(shard) | written)
        return True

    def merge(self, check: Callable[[], None] = lambda: None) -> dict:
        """Write the store from its finished shards, remove them, and return the store's manifest.

        Every array is read once, in blocks, and compared with its shard's manifest on the way. UserError, with all
        shards left as they are, for one that is unfinished, damaged, or of other pictures, preprocessing, autoencoder.
        """
        summary, rows = Summary(self.source), len(self.source) * self.copies
        manifests = [self._read_manifest(shard) for shard in range(1, self.count + 1)]
        first, progress = manifests[0], Progress("merge", rows)
        with exclusive(self.folder / ".lock"), StoreWriter(self.folder, capacity=rows) as store:
            for shard, manifest in enumerate(manifests, start=1):
                self._compare(shard, "autoencoder", _hash(manifest), _hash(first), f"as in {self.place(1)}")
                for name, description in manifest["arrays"].items():
                    for block in read_rows(self.place(shard) / f"{name}.npy", description):
                        check()
                        if name in STORED:
                            store.append(**{name: block})
                        _gather(summary, name, block)
                        progress.update(int(summary.per_class.sum()))
                summary.skipped += manifest["skipped"]
            summary.check()
            autoencoder = first["autoencoder"] and first["autoencoder"] | {"id": self.data["autoencoder"]}
            manifest = summary.manifest(self.data, autoencoder, store.description)
            store.commit(manifest)
        shutil.rmtree(self.folder / "shards")
        return manifest

    def _chunks(self, shard: int) -> list[range]:
        chunks = chunks_of(len(self.source), self.data["resolution"])
        return chunks[len(chunks) * (shard - 1) // self.count : len(chunks) * shard // self.count]

    def _identity(self, shard: int) -> dict:
        """What a shard's manifest says of the pictures it holds and how they are prepared."""
        chunks = self._chunks(shard)
        return {
            "version": 1,
            "listing": self._listing,
            "pictures": [chunks[0].start, chunks[-1].stop] if chunks else [],  # from, to before
            "resolution": self.data["resolution"],
            "filter": FILTER,
            "crop": "center",
            "flips": self.data["flips"],
            "chunk": chunk_size(self.data["resolution"]),
        }

    @cached_property
    def _listing(self) -> str:
        """sha256 over the classes, and all pictures' names and labels in order."""
        digest = hashlib.sha256("\n".join(self.source.classes).encode("utf-8", "surrogateescape"))
        for name, label in zip(self.source.names, self.source.labels, strict=True):
            digest.update(f"\0{label}\0{name}".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _read_manifest(self, shard: int) -> dict:
        place = self.place(shard)
        if not (place / "manifest.json").exists():
            raise UserError(f"{place}: unfinished: must be encoded before the merge; delete that folder and run again")
        manifest = read_json(place / "manifest.json")
        for field, right in self._identity(shard).items():
            self._compare(shard, field, manifest.get(field), right, "as the data are now")
        kinds = ["none" if there is None else "one" for there in (manifest["autoencoder"], self.data["autoencoder"])]
        self._compare(shard, "autoencoder", *kinds, "as in data.autoencoder")
        return manifest

    def _compare(self, shard: int, field: str, found, right, why: str) -> None:
        if found != right:
            found, right = (value[:12] if isinstance(value, str) else value for value in (found, right))
            raise UserError(
                f"{self.place(shard)}: {field} is {found}: must be {right}, {why}; delete that folder and run again"
            )


def _gather(summary: Summary, name: str, block: np.ndarray) -> None:
    if name == "labels":
        summary.add_labels(block)
    elif name == "contents":
        summary.contents.update(block.tobytes())
    elif name == "statistics":
        for row in block:
            summary.add_moments(_moments_from_row(row))


def _moments_to_row(moments: Moments) -> np.ndarray:
    """(1 + 2C,) float64: count, mean and scatter, from which `_moments_from_row` restores the same bits."""
    return np.concatenate([[moments.count], moments.mean, moments.scatter])


def _moments_from_row(row: np.ndarray) -> Moments:
    mean, scatter = np.split(row[1:], 2)
    return Moments(int(row[0]), mean, scatter)


def _hash(manifest: Mapping) -> str | None:
    return manifest["autoencoder"] and manifest["autoencoder"]["hash"]
