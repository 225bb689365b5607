"""The pictures beneath a folder, listed so that reading them later neither blocks nor leaves the folder unasked.

A folder is followed where it is a link, unless the link leads out of the folder that is listed and `data.links` is not
`follow`. Every folder is listed once: a link back to one that is listed already would be a loop, or the same pictures
twice.
"""

import os

from ..system.errors import UserError, one_line
from .class_folders import is_picture, is_visible


def pictures_beneath(root: str, follow_links: bool) -> tuple[list[str], list[str]]:
    """Names of all pictures beneath a folder, relative to it, and of the folders in it. Hidden ones are left out.

    Raises UserError, which names the first of them, for a folder that cannot be listed or is reached twice, a picture
    that is not a regular file, and a link that leads nowhere or, unless `follow_links`, out of the folder.
    """
    pictures: list[str] = []
    folders: list[str] = []
    listed: dict[tuple[int, int], str] = {}
    waiting = [""]  # folders, relative to the root; all but the root's own name end in a slash
    while waiting:
        prefix = waiting.pop()
        for entry in _entries(root, prefix, listed):
            name = prefix + entry.name
            if not is_visible(entry.name):
                continue
            try:
                if entry.is_symlink():
                    check_link(root, name, follow_links)
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                raise UserError(f"{root}: {one_line(name)}: cannot be read ({error.strerror})") from None
            if is_folder:
                waiting.append(f"{name}/")
                if not prefix:
                    folders.append(name)
            elif is_picture(name):
                if not is_file:
                    raise UserError(
                        f"{root}: {one_line(name)}: not a regular file; remove it, or put a picture in its place"
                    )
                pictures.append(name)
    return pictures, folders


def check_link(root: str, name: str, follow_links: bool) -> None:
    """Raise UserError for a link in the folder `root` that leads nowhere or, unless `follow_links`, out of it."""
    target = os.path.realpath(os.path.join(root, name))
    if not os.path.exists(target):
        raise UserError(
            f"{root}: {one_line(name)}: a link that leads nowhere ({one_line(target)}); remove it, or restore what it "
            "led to"
        )
    real_root = os.path.realpath(root)
    if not follow_links and os.path.commonpath([real_root, target]) != real_root:
        raise UserError(
            f"{root}: {one_line(name)}: a link that leads out of this folder, to {one_line(target)}; if that is meant, "
            "set data.links: follow"
        )


def _entries(root: str, prefix: str, listed: dict[tuple[int, int], str]) -> list[os.DirEntry[str]]:
    """What a folder contains; `listed` holds the folders so far by device and inode."""
    folder = os.path.join(root, prefix)
    try:
        state = os.stat(folder)
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise UserError(f"data.path: {one_line(folder)}: cannot be listed ({error.strerror})") from None
    earlier = listed.setdefault((state.st_dev, state.st_ino), prefix)
    if earlier != prefix:
        raise UserError(
            f"{root}: {one_line(prefix[:-1])}: the same folder as {one_line(earlier[:-1]) or 'the one it is in'}; "
            "remove the link, which leads to pictures that are listed already"
        )
    return found
