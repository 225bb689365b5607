"""A run's lock: waiting for it, taking it over, and seeing who holds it."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from mpdit.system.errors import UserError
from mpdit.system.lock import exclusive, holder

HOLD = """
import sys, time
from mpdit.system.lock import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "lock"


def hold(path, seconds):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, path, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_waits_and_then_names_the_holder(path):
    process = hold(path, 60)
    lines = []
    with pytest.raises(UserError) as error, exclusive(path, 0.3, lines.append):
        pytest.fail("two processes hold one lock")
    process.kill()
    process.communicate()
    owner = f"process {process.pid} on {socket.gethostname()}"
    assert str(error.value).startswith(f"{path}: held by {owner} for more than 0.3 s; wait until")
    assert lines == [f"waiting up to 0.3 s for {owner}, which holds this run"]


def test_a_second_process_gets_the_lock_when_it_is_released(path):
    with hold(path, 0.5), exclusive(path, 20, lambda line: None):
        assert path.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"


def test_a_killed_process_releases_the_lock(path):
    process = hold(path, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    start = time.monotonic()
    with exclusive(path, 0):
        pass
    assert time.monotonic() - start < 5


def test_the_holder_is_visible_to_others(path):
    assert holder(path) is None
    with exclusive(path, 0):
        assert holder(path) == f"process {os.getpid()} on {socket.gethostname()}"
    assert holder(path) is None
