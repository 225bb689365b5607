"""The same pictures as a folder, a zip, a tar, a tar of tars and Parquet shards."""

import io
import itertools
import json
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mpdit.experiment.grid import check_data

PACKINGS = ("folder", "zip", "tar", "tars", "parquet")


def data(packing, path, **fields) -> dict:
    kind = "tar" if packing == "tars" else packing
    return check_data({"name": "test", "source": kind, "path": str(path), "resolution": 8, **fields})


def tar_of(path, files, folders=()):
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


def tar_of_tars(path, files, beside=None):
    classes: dict[str, dict] = {}
    for name, content in files.items():
        folder, file = name.split("/", 1)
        classes.setdefault(folder, {})[file] = content
    inner = {f"{name}.tar": tar_of(path.with_name("inner"), inside).read_bytes() for name, inside in classes.items()}
    path.with_name("inner").unlink()
    return tar_of(path, inner | (beside or {}))


def parquet_of(path, files, shards=3, names=True, labels=None, image=None, group=2, **columns):
    """Shards as the hub has them, rows in the order of the ImageFolder; the class names in their metadata."""
    path.mkdir()
    rows = sorted(files, key=lambda name: (name.split("/")[0], name))
    classes = sorted({name.split("/")[0] for name in rows})
    labels = labels or [classes.index(name.split("/")[0]) for name in rows]
    stored = [{"bytes": files[name], "path": name.split("/")[1]} for name in rows]
    table = pa.table({"image": image(stored) if image else stored, "label": labels, **columns})
    if names:
        feature = {"names": classes if names is True else names, "_type": "ClassLabel"}
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    bounds = np.linspace(0, len(rows), shards + 1).astype(int)
    for shard, (start, stop) in enumerate(itertools.pairwise(bounds)):
        part = table.slice(start, stop - start)
        pq.write_table(part, path / f"train-{shard:05d}-of-{shards:05d}.parquet", row_group_size=group)
    return path


def folder_of(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zip_of(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


PACK = {"folder": folder_of, "zip": zip_of, "tar": tar_of, "tars": tar_of_tars, "parquet": parquet_of}
