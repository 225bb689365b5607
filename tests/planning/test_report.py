"""The tables of `mpdit plan`."""

from helpers.workloads import SMALL_STUDY, workload_of

from mpdit.planning.jobs import RULES
from mpdit.planning.rates import find_rate
from mpdit.planning.report import free_space, time_table
from mpdit.system.console import duration


def test_time_on_several_devices_is_at_least_that_of_the_longest_run(tmp_path):
    workload = workload_of(tmp_path, SMALL_STUDY | {"execution": {"device": "cuda", "devices": 2}})
    rate = find_rate(workload, 1e5)
    seconds = [rate.seconds(rule, job) for rule in RULES for jobs in workload.jobs(rule) for job in jobs.to_do]
    longest = max(rate.seconds("train", job) for jobs in workload.jobs("train") for job in jobs.to_do) / 2
    headings, times = time_table(workload, rate)
    assert headings == ("time", "2 GPUs", "4 GPUs", "8 GPUs", "16 GPUs", "32 GPUs", "longest run")
    expected = [max(sum(seconds) / count, longest) for count in (2, 4, 8, 16, 32)]
    assert times == ("all", *map(duration, expected), duration(longest))


def test_a_study_larger_than_the_free_space_is_pointed_out(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    assert free_space(workload_of(tmp_path)).startswith("This disk has 1 MB free, which is TOO LITTLE")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**15})())
    assert "TOO LITTLE" not in free_space(workload_of(tmp_path))
