"""Signals and the death of Snakemake are reasons to stop, and nothing else is."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from mpdit.system import interruption
from mpdit.system.interruption import SIGNALS, Interrupted, Interruption, ended_by_ctrl_c, snakemake_ancestors


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


def test_ctrl_c_ends_a_process_at_once_while_it_imports():
    code = "import os, signal; from mpdit.system.interruption import ended_by_ctrl_c\n"
    code += "with ended_by_ctrl_c(): os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("before", [signal.SIG_IGN, lambda number, frame: None])
def test_a_process_that_ignores_or_handles_ctrl_c_goes_on_doing_so(before):
    previous = signal.signal(signal.SIGINT, before)
    try:
        with ended_by_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, previous)
    with ended_by_ctrl_c():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is previous
