"""Batches are a function of the seed and the step, wherever the latents are and however many ranks share them."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.tiny_runs import environment, write_latents

from mpdit.data.latents import Latents
from mpdit.training.batches import PREFETCH, Batches


@pytest.fixture(scope="module")
def latents(latents):
    """50 random latents with a posterior, opened."""
    return Latents(latents)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """50 random pixel images, opened."""
    return Latents(write_latents(tmp_path_factory.mktemp("data") / "latents", shape=(1, 6, 6), pixels=True))


def test_each_epoch_is_a_permutation_and_batches_may_span_two_epochs(latents):
    batches = Batches(latents, seed=3, batch_size=8)
    stream = torch.cat([batches.indices(step) for step in range(1, 20)])  # 152 rows of 50
    epochs = stream[:150].view(3, 50)
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(50))
    assert not torch.equal(epochs[0], epochs[1])


def test_a_batch_larger_than_the_data_set_spans_several_epochs(latents):
    rows = Batches(latents, seed=3, batch_size=120).indices(2)
    assert torch.bincount(rows, minlength=50).tolist() == pytest.approx([2] * 50, abs=1)
    assert len(rows) == 120


def test_the_order_depends_only_on_the_seed_and_the_step(latents):
    forwards = Batches(latents, seed=3, batch_size=8)
    ordered = [forwards.indices(step) for step in range(1, 15)]
    assert torch.equal(Batches(latents, seed=3, batch_size=8).indices(14), ordered[13])  # a resumed run
    assert not torch.equal(Batches(latents, seed=4, batch_size=8).indices(14), ordered[13])


def test_pixels_are_whitened_by_the_statistics_of_the_manifest(pixels):
    batches = Batches(pixels, seed=0, batch_size=8)
    x, labels = batches(5)
    expected, expected_labels = pixels.batch(batches.indices(5))
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)
    assert x.dtype == torch.float32 and torch.equal(labels, expected_labels)


def test_the_posterior_is_sampled_again_at_each_step_with_the_stored_deviation(latents):
    batches = Batches(latents, seed=0, batch_size=50)
    mean, scale = latents.mean.astype(np.float64), 2.0
    samples = []
    for step in range(1, 401):
        order = batches.indices(step).argsort()
        samples.append(batches(step)[0][order].double() * scale + 0.3)
    x = torch.stack(samples)
    torch.testing.assert_close(x.mean(0), torch.from_numpy(mean), rtol=0, atol=0.15)  # 6 standard errors
    torch.testing.assert_close(x.std(0), torch.from_numpy(latents.std.astype(np.float64)), rtol=0.25, atol=0)


@pytest.mark.parametrize("store", ["latents", "pixels"])
def test_batches_read_from_disk_equal_resident_ones(store, request):
    store = request.getfixturevalue(store)
    resident, mapped = (Batches(store, seed=1, batch_size=8, resident=resident) for resident in (True, False))
    for step in (1, 2, 3, 7, 8, 3):  # also out of order
        for ours, theirs in zip(resident(step), mapped(step), strict=True):
            assert torch.equal(ours, theirs)
    assert len(mapped._ahead) == PREFETCH
    assert mapped.waited > 0 and resident.waited == 0


@pytest.mark.parametrize("resident", [True, False])
def test_ranks_share_the_global_batch(latents, resident):
    whole = Batches(latents, seed=1, batch_size=12, resident=resident)
    parts = [Batches(latents, 1, 12, rank=rank, world=3, resident=resident) for rank in range(3)]
    for step in (1, 5):
        x, labels = whole(step)
        shares = [part(step) for part in parts]
        assert torch.equal(torch.cat([share[0] for share in shares]), x)
        assert torch.equal(torch.cat([share[1] for share in shares]), labels)


def test_latents_that_do_not_fit_into_memory_stay_on_disk(latents, monkeypatch):
    monkeypatch.setattr("mpdit.training.batches._free_memory", lambda device: 100)
    assert not Batches(latents, 0, 8).resident
    monkeypatch.setattr("mpdit.training.batches._free_memory", lambda device: 10**9)
    assert Batches(latents, 0, 8).resident


GROWTH = """
import sys
import psutil
from mpdit.data.latents import Latents
from mpdit.training.batches import Batches

small, large = map(Latents, sys.argv[1:])
Batches(small, 0, 8, resident=True)(1)  # whatever is loaded once, at first use
before = psutil.Process().memory_info().rss
batches = Batches(large, 0, 8, resident=True)
print(psutil.Process().memory_info().rss - before)
"""


def test_resident_latents_are_held_once(latents, tmp_path):
    """Measured in a process of its own: in this one, memory freed by earlier tests may be reused."""
    large = Latents(write_latents(tmp_path / "latents", count=2_000, shape=(4, 64, 64)))  # 66 MB
    command = [sys.executable, "-c", GROWTH, str(latents.folder), str(large.folder)]
    process = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert process.returncode == 0, process.stderr
    tolerance = 10_000_000
    assert large.mean.nbytes - tolerance < int(process.stdout) < large.mean.nbytes + tolerance
    batches = Batches(large, 0, 8, resident=True)
    torch.testing.assert_close(batches(1)[0], large.batch(batches.indices(1))[0])


def test_latents_copied_in_pieces_equal_those_copied_at_once(latents, monkeypatch):
    whole = Batches(latents, 0, 8, resident=True)(1)
    monkeypatch.setattr("mpdit.training.batches.COPY_BYTES", 7 * latents.mean[0].nbytes)
    assert all(torch.equal(*pair) for pair in zip(whole, Batches(latents, 0, 8, resident=True)(1), strict=True))
