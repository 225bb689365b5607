"""The one exception for mistakes that the user can correct."""


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
