"""Freed memory is used again, instead of being returned to the kernel and cleared page by page."""

import ctypes
import subprocess
import sys

import pytest

from mpdit.system import memory

FAULTS = """
import resource, sys
import numpy as np
if "keep" in sys.argv:
    from mpdit.system.memory import keep_freed_memory
    keep_freed_memory()
def step():
    arrays = [np.ones(2**17) for _ in range(16)]  # 1 MiB each, 256 pages
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_used_again_without_page_faults():
    faults = {}
    for option in ("keep", "default"):
        done = subprocess.run([sys.executable, "-c", FAULTS, option], capture_output=True, text=True, check=True)
        faults[option] = int(done.stdout)
    assert faults["default"] > 5 * 16 * 256 / 2
    assert faults["keep"] < 200


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.keep_freed_memory()
