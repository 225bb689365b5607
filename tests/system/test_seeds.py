"""Random numbers are functions of their key."""

import pytest
import torch

from mpdit.system.seeds import generator, seed_of


def test_seeds_are_the_same_on_every_machine():
    assert seed_of(0, "noise", 1) == 12374115530790847731
    assert seed_of("reference") == 4009336386158770550


def test_different_keys_give_different_seeds():
    keys = [(0,), (1,), ("1",), (1, 2), (12,), ("1", 2), (2, 1), (), (-1,), ("a", "b"), ("ab",)]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert all(0 <= seed_of(*key) < 2**64 for key in keys)


def test_keys_are_integers_and_strings():
    assert seed_of(torch.tensor(3).item(), "t") == seed_of(3, "t")
    with pytest.raises(TypeError):
        seed_of(0.5)


def test_the_same_key_gives_the_same_numbers():
    first, second, other = (torch.randn(4, generator=generator(0, purpose)) for purpose in ("t", "t", "noise"))
    assert torch.equal(first, second)
    assert not torch.isclose(first, other).any()
