"""What training reports while it runs."""

import os
import sys

from helpers.tiny_runs import (
    log_lines,
    make_spec,
    train_in,
)


def test_a_closed_terminal_does_not_stop_training(tmp_path, latents, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        assert train_in(tmp_path, make_spec(), latents, log_every=1) == 0
    assert log_lines(tmp_path)[-1].startswith("trained: step 12")
