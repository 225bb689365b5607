"""The one exception for mistakes that the user can correct."""


class UserError(ValueError):
    """Invalid input. The message names the file or field, what was found, and what would be right.

    A message is one line per mistake. The command line prints it without a traceback and exits with status 2.
    """
