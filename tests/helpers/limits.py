"""Limits that the operating system sets on this process."""

import resource
from contextlib import contextmanager


@contextmanager
def largest_file(size):
    """Within this context the system refuses to write beyond `size` bytes of a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
