"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """Bad input. Its message is one line that names the file or field, what was found, and what would be right.

    The command line prints the message alone (no traceback) and exits with status 2.
    """
