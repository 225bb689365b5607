"""Signals and the death of Snakemake are reasons to stop, and nothing else is."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from mpdit.system import interruption
from mpdit.system.interruption import SIGNALS, Interrupted, Interruption, snakemake_ancestors


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_a_reason_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with Interruption() as watch:
        assert watch.reason() is None
        watch.check()
        os.kill(os.getpid(), number)
        assert watch.reason() == f"{number.name} received"
        with pytest.raises(Interrupted, match=f"^{number.name} received$"):
            watch.check()
    assert signal.getsignal(number) is before


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as watch:
            os.kill(os.getpid(), signal.SIGHUP)
            assert watch.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_death_of_an_ancestor_is_a_reason(monkeypatch):
    monkeypatch.setattr(interruption, "POLL_INTERVAL", 0.0)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    watch = Interruption([psutil.Process(process.pid)])
    assert watch.reason() is None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert watch.reason() == "the Snakemake that started this process has died"
    process.communicate()


def test_snakemake_is_found_among_the_ancestors(tmp_path):
    script = tmp_path / "snakemake"
    script.write_text(
        "import subprocess, sys\n"
        "code = 'from mpdit.system.interruption import snakemake_ancestors as s; print(*(p.pid for p in s()))'\n"
        "process = subprocess.run(['sh', '-c', f'{sys.executable} -c \"{code}\"; true'], stdout=subprocess.PIPE)\n"
        "import os; print(os.getpid(), process.stdout.decode().split()[0])\n"
    )
    own, seen = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout.split()
    assert own == seen
    assert own not in {str(process.pid) for process in snakemake_ancestors()}
