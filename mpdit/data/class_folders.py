"""Pictures CLASS/.../PICTURE, as in an ImageFolder, in order: by class, then by name.

Classes are the folders, sorted by name. ImageNet's own numbers 0 to 999 are the order of the synsets' names (n01440764
is 0), so sorting the folders gives the same labels.
"""

import posixpath
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..system.errors import UserError, one_line
from .listing import PackedStrings, PictureListing

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def is_picture(name: str) -> bool:
    """Whether a path within a source names a picture that is not hidden."""
    return posixpath.splitext(name)[1].lower() in SUFFIXES and is_visible(name)


def is_visible(name: str) -> bool:
    """Whether no part of a path is hidden, nor one of the folders that macOS adds to archives."""
    return not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def name_in_archive(name: str) -> str:
    """The name of an archive's member as unpacking takes it: relative, without the `./` that some tools begin with."""
    while name.startswith(("/", "./")):
        name = name.removeprefix("/").removeprefix("./")
    return name


def strip_enclosing_folders(names: list[str], folders: list[str]) -> tuple[list[str], list[str]]:
    """Names relative to the folder that holds all classes (`zip -r train.zip train`), and the class folders' names.

    `folders` are an archive's own entries for folders, ending in a slash; not every archive has them.
    """
    parents = {posixpath.dirname(posixpath.dirname(name)) for name in names}
    prefix = posixpath.join(posixpath.commonpath(parents or {""}), "")
    inside = [folder.removeprefix(prefix) for folder in folders if folder.startswith(prefix)]
    return [name.removeprefix(prefix) for name in names], [folder.split("/", 1)[0] for folder in inside if folder]


def list_by_class(
    path: str, labeled: bool, names: list[str], folders: Iterable[str], **locations: np.ndarray
) -> PictureListing:
    """The listing of pictures named CLASS/.../FILE, sorted by class, then by name.

    `folders` are class folders, also those without pictures; `locations` has one row per picture. Unless `labeled`, all
    pictures belong to one class. Raises UserError, naming `path`, for a source without pictures, a name that appears
    twice or has a line break, and, where `labeled`, for a picture outside of class folders or a class without pictures.
    """
    if not names:
        raise UserError(f"{path}: no pictures found; expected CLASS/PICTURE with a suffix of {' '.join(SUFFIXES)}")
    folders = list(folders)
    for name in (*names, *folders):
        if "\n" in name:  # which no message, manifest or table could show in one line
            raise UserError(f"{path}: {one_line(name)}: a line break in its name; rename it")
    if labeled:
        classes, labels = _classes(path, names, folders)
    else:
        classes, labels = ["any"], np.zeros(len(names), dtype=np.int64)
    keys = [name.replace("/", "\0", 1) for name in names]  # by class, then by name: "a/b" comes before "a-b/a"
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    del keys
    for previous, current in pairwise(order):
        if names[previous] == names[current]:
            raise UserError(f"{path}: {names[current]}: appears twice; names must be unique")
    return PictureListing(classes, PackedStrings.pack(names[index] for index in order), labels[order],
                          {key: rows[order] for key, rows in locations.items()})  # fmt: skip


def _classes(path: str, names: list[str], folders: Iterable[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The classes, sorted by name, and the label of each picture."""
    for name in names:
        if "/" not in name:
            raise UserError(f"{path}: {name}: not in a class folder; expected CLASS/{name}")
    used = {name.split("/", 1)[0] for name in names}
    classes = sorted(used | {folder for folder in folders if is_visible(folder)})
    for folder in classes:
        if folder not in used:
            raise UserError(f"{path}: {folder}: class folder without pictures; add at least one, or remove the folder")
    label_of = {name: label for label, name in enumerate(classes)}
    return classes, np.array([label_of[name.split("/", 1)[0]] for name in names], dtype=np.int64)
