"""Progress lines, columns and numbers as the terminal shows them."""

import pytest

from mpdit.system.console import Progress, aligned, duration, with_progress, with_si_prefix


@pytest.fixture
def set_clock(monkeypatch):
    """A function that sets the times which the clock reads one after another."""

    def set_times(*times):
        clock = iter(times)
        monkeypatch.setattr("mpdit.system.console.time.monotonic", lambda: float(next(clock)))

    return set_times


def test_progress_is_printed_at_intervals(capsys, set_clock):
    set_clock(0, 4, 10, 12, 21)
    progress = Progress("run", 1000)
    for done in (10, 255.5, 300):
        progress.update(done)
    progress.finish()
    lines = "run: 255 of 1,000 images, 25.55 images/s, 29 s left\nrun: 1,000 images in 21 s, 47.62 images/s\n"
    assert capsys.readouterr().out == lines


def test_progress_is_redrawn_in_a_terminal_without_snakemake(capsys, set_clock, monkeypatch):
    set_clock(0, 1, 2, 4)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("mpdit.system.console.snakemake_ancestors", list)
    progress = Progress("run", 100)
    progress.update(10)
    progress.update(50)
    progress.finish()
    first, second, third = capsys.readouterr().out.split("\r")
    assert first == "run: 10 of 100 images, 10 images/s, 9 s left"
    assert second == "run: 50 of 100 images, 25 images/s, 2 s left"
    assert third.rstrip(" \n") == "run: 100 images in 4 s, 25 images/s"
    assert third.endswith("\n")


def test_items_with_progress_are_unchanged(capsys, set_clock):
    set_clock(*range(0, 1000, 6))
    assert list(with_progress("features", "abcd", 4)) == list("abcd")
    first, _, last = capsys.readouterr().out.splitlines()
    assert first == "features: 2 of 4 images, 0.1667 images/s, 12 s left"
    assert last == "features: 4 images in 30 s, 0.1333 images/s"


def test_durations_have_two_units():
    assert [duration(s) for s in (0.4, 59.4, 60, 185, 3600, 25920, 560_000)] == [
        "0 s", "59 s", "1 min 00 s", "3 min 05 s", "1 h 00 min", "7 h 12 min", "6 d 11 h",
    ]  # fmt: skip


def test_text_is_aligned_left_and_numbers_right():
    rows = [("run", "state", "step"), ("a", "trained", "5"), ("longer", "", "1,600")]
    assert aligned(rows, text_columns=2) == [
        "run     state     step",
        "a       trained      5",
        "longer           1,600",
    ]


def test_numbers_have_three_digits_and_an_si_prefix():
    assert [with_si_prefix(value) for value in (0, 999.4, 999.6, 5.251e9, 3e30)] == [
        "0 ", "999 ", "1 k", "5.25 G", "3e+09 Z",
    ]  # fmt: skip
