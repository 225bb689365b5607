"""The same pictures as a folder, a zip, a tar, a tar of tars and Parquet shards."""

import io
import itertools
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mpdit.experiment.parse import parse_data
from mpdit.experiment.schema import Data

Files = Mapping[str, bytes]  # name -> content


def noise_picture(seed: int, size: tuple[int, int] = (12, 10), suffix: str = "jpeg") -> bytes:
    """The bytes of a picture file of noise."""
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, suffix)
    return buffer.getvalue()


# Three classes, not in order; the long name takes more than one header of a tar.
PICTURES = {f"n0{name}/{index}.JPEG": noise_picture(10 * name + index) for name in (2, 0, 1) for index in (1, 2, 0)}
PICTURES[f"n01/{'x' * 150}.JPEG"] = noise_picture(99)


def data_of(packing: str, path: Path | str, **fields: Any) -> Data:
    """The data section of pictures packed this way, at 8 pixels unless `fields` say otherwise."""
    kind = "tar" if packing == "tars" else packing
    return parse_data({"name": "test", "source": kind, "path": str(path), "resolution": 8, **fields})


def write_folder(path: Path, files: Files = PICTURES) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, files: Files = PICTURES, prefix: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


def write_tar(path: Path, files: Files = PICTURES, folders: Iterable[str] = ()) -> Path:
    """A tar of files, and of entries for `folders`."""
    with tarfile.open(path, "w") as archive:
        for folder in folders:
            member = tarfile.TarInfo(folder)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_tar_of_tars(path: Path, files: Files = PICTURES, others: Files | None = None) -> Path:
    """A tar of one CLASS.tar per class, and of the files `others`."""
    classes: dict[str, dict[str, bytes]] = {}
    for name, content in files.items():
        folder, file = name.split("/", 1)
        classes.setdefault(folder, {})[file] = content
    inner = path.with_name("inner")
    tars = {f"{name}.tar": write_tar(inner, content).read_bytes() for name, content in classes.items()}
    inner.unlink()
    return write_tar(path, {**tars, **(others or {})})


def write_parquet(
    path: Path,
    files: Files = PICTURES,
    shards: int = 3,
    class_names: list[str] | bool = True,
    labels: list[Any] | None = None,
    image_column: Callable[[list[dict[str, Any]]], list[Any]] = lambda rows: rows,
    rows_per_group: int = 2,
) -> Path:
    """A folder of shards as the hub has them, rows in the order of the ImageFolder, class names in their metadata."""
    path.mkdir()
    names = sorted(files, key=lambda name: (name.split("/")[0], name))
    classes = sorted({name.split("/")[0] for name in names})
    labels = labels or [classes.index(name.split("/")[0]) for name in names]
    rows = [{"bytes": files[name], "path": name.split("/")[1]} for name in names]
    table = pa.table({"image": image_column(rows), "label": labels})
    if class_names:
        feature = {"names": classes if class_names is True else class_names, "_type": "ClassLabel"}
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    bounds = np.linspace(0, len(names), shards + 1).astype(int)
    for shard, (start, stop) in enumerate(itertools.pairwise(bounds)):
        part = table.slice(start, stop - start)
        pq.write_table(part, path / f"train-{shard:05d}-of-{shards:05d}.parquet", row_group_size=rows_per_group)
    return path


WRITERS: dict[str, Callable[[Path, Files], Path]] = {
    "folder": write_folder, "zip": write_zip, "tar": write_tar, "tars": write_tar_of_tars, "parquet": write_parquet,
}  # fmt: skip
PACKINGS = tuple(WRITERS)


def pack_pictures(folder: Path) -> dict[str, Data]:
    """Packing -> the data section of PICTURES packed that way."""
    return {packing: data_of(packing, write(folder / packing, PICTURES)) for packing, write in WRITERS.items()}
