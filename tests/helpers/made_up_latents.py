"""Latents folders with the values that a test asks for, as `mpdit encode` writes them."""

from pathlib import Path
from typing import Any

import numpy as np

from mpdit.data.latents import Latents
from mpdit.experiment.records import Manifest, SourceRecord
from mpdit.system.files import write_json


def made_up_latents(
    folder: Path, labels: list[int], *, seed: int = 0, shape: tuple[int, int, int] = (2, 4, 4), **manifest: Any
) -> Latents:
    """Random latents of these labels, with a posterior; `manifest` replaces fields of the manifest."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = (len(labels), *shape)
    np.save(folder / "mean.npy", random.normal(0.3, 2, rows).astype(np.float16))
    np.save(folder / "std.npy", random.uniform(0.1, 0.5, rows).astype(np.float16))
    np.save(folder / "labels.npy", np.array(labels, dtype=np.int64))
    fields: dict[str, Any] = {
        "version": 1,
        "name": "random",
        "source": SourceRecord("folder", "random", f"{seed:064x}", "by name"),
        "count": len(labels),
        "skipped": (),
        "shape": shape,
        "classes": ("a", "b", "c"),
        "resolution": shape[1],
        "filter": "none",
        "crop": "center",
        "flips": "none",
        "autoencoder": None,
        "posterior": True,
        "dtype": "float16",
        "channel_mean": (0.3,) * shape[0],
        "channel_std": (2.0,) * shape[0],
        "fingerprint": f"{seed:064x}",
    }
    write_json(folder / "manifest.json", Manifest(**{**fields, **manifest}).to_json())
    return Latents(folder)
