"""The one exception for mistakes that the user can correct, and the operating system's errors in one line."""

import errno
import os

# What is wrong with a path, where the operating system's own words say it less clearly
WORDS = {
    errno.ENOENT: "no such file",
    errno.EEXIST: "is a file, not a folder",
    errno.EISDIR: "is a folder, not a file",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
}


class UserError(ValueError):
    """Invalid input. The message names the file or field, what was found, and what would be right.

    A message is one line per mistake, whatever characters a file's name or content adds to it. The command line prints
    it without a traceback and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(one_line, message.split("\n"))))


def one_line(text: str) -> str:
    """The text with control characters, line breaks and halves of characters escaped, so that it can be printed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: BaseException) -> str:
    """What an error of a library says, in one line; its kind where it says nothing."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return one_line(" ".join(str(error).split())) or type(error).__name__


def in_one_line(error: OSError, path: object = None) -> str:
    """The file (`path` where the error names none), and what the operating system says of it."""
    words = WORDS.get(error.errno or 0) or error.strerror or reason(error)
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    name = " -> ".join(names) or path
    return one_line(words if name is None else f"{name}: {words[0].lower()}{words[1:]}")
