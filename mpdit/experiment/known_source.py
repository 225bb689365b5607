"""results/sources/<name>.json: which pictures a name stands for, and where they were found.

The numbers of a study are numbers of its pictures, so no other pictures may come under their name. The fingerprint
decides that. Path, sizes and times only tell whether the pictures have to be listed again to compute it: listing takes
minutes where there are millions of pictures, a look at the path takes none.
"""

import glob
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..system.errors import UserError
from ..system.files import write_json
from .records import JsonRecord

# What keeps the results of other pictures and those of the new ones apart, by the field that names the pictures.
REMEDIES: Mapping[str, str] = {"data.path": "give the new ones a data.name of their own"}
OTHER_REMEDY = "give the new ones a file name of their own"


@dataclass(frozen=True)
class KnownSource(JsonRecord):
    """What is known of the pictures, or the statistics of pictures, that a name stands for."""

    written_by = "the workflow"

    fingerprint: str  # of the pictures' listing; of statistics, the hash of the file
    states: dict[str, str] = field(default_factory=dict)  # path: its `path_state` when it held them


def path_state(path: str) -> str | None:
    """Sixteen hex digits that change with what is at a path; None where nothing is there.

    They cover the names, sizes and times of a file, of a folder and what is directly in it, or of all that a pattern
    matches.
    """
    paths = [path] if os.path.lexists(path) else sorted(glob.glob(path))
    if not paths:
        return None
    digest = hashlib.sha256()
    for top in paths:
        inside = [os.path.join(top, name) for name in sorted(os.listdir(top))] if os.path.isdir(top) else []
        for entry in (top, *inside):
            with suppress(OSError):  # gone meanwhile, or a link to nowhere: listing says what is wrong
                status = os.stat(entry)
                size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
                line = f"{os.path.basename(entry)}\0{size}\0{status.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def read_known(file: Path) -> KnownSource | None:
    """What is known of a source; None where nothing is. Raises UserError for a damaged file."""
    return KnownSource.read(file) if file.exists() else None


class Finding(NamedTuple):
    """A path of the configuration, as it was before what is there was listed."""

    field: str
    path: str | None  # None: built in
    state: str | None

    @classmethod
    def of(cls, field: str, path: str | None) -> "Finding":
        return cls(field, path, None if path is None else path_state(path))


def remember(file: Path, found: Finding, fingerprint: str, replace: bool = False) -> None:
    """Record in `file` that these pictures were found there, in that state.

    Raises UserError where the file is of other pictures, unless they `replace` these.
    """
    known = read_known(file)
    if known is not None and known.fingerprint != fingerprint:
        if not replace:
            raise other_pictures(found.field, found.path or "built in", fingerprint, known.fingerprint, file)
        known = None
    states = {} if known is None else known.states
    if found.path is not None and found.state is not None:
        states = {**states, found.path: found.state}
    if known is None or states != known.states:
        write_json(file, asdict(KnownSource(fingerprint, states)))


def other_pictures(input_field: str, path: str, found: str, expected: str, where: Path) -> UserError:
    """The error for a path that holds other pictures than those that results were made from, as `where` says."""
    remedy = REMEDIES.get(input_field, OTHER_REMEDY)
    return UserError(
        f"{input_field}: {path}: holds other pictures ({found[:12]}) than those that results here were made from "
        f"({expected[:12]} in {where}); {remedy}, or see docs/how-to/own-pictures.md for how to replace the old ones"
    )
