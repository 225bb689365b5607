"""Adam takes the steps of torch's, bit for bit, and its state is named as checkpoints have it."""

import pytest
import torch

from mpdit.training.adam import Adam

BETAS = (0.9, 0.99)


def parameters():
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=random) for name, shape in (("a", (5, 7)), ("b", (3,)), ("c", (40, 16)))}


def groups_of(named):
    a, b, c = named.values()
    return [{"params": [a, b], "lr": 1e-2, "eps": 1e-8}, {"params": [c], "lr": 1e-3, "eps": 1e-6}]


def set_gradients(named, step):
    random = torch.Generator().manual_seed(step)
    for tensor in named.values():
        tensor.grad = torch.randn(tensor.shape, generator=random)


def test_its_steps_are_those_of_torch():
    ours, theirs = parameters(), parameters()
    own, torchs = Adam(groups_of(ours), BETAS), torch.optim.Adam(groups_of(theirs), betas=BETAS, fused=True)
    for step in range(1, 6):
        for named, optimizer in ((ours, own), (theirs, torchs)):
            set_gradients(named, step)
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * 0.9
            optimizer.step()
    for name in ours:
        assert torch.equal(ours[name], theirs[name])
    state = own.state(ours)
    for name, tensor in theirs.items():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(state[f"{key}/{name}"], torchs.state[tensor][key])


def test_a_restored_state_continues_bit_identically():
    whole, part = parameters(), parameters()
    first = Adam(groups_of(whole), BETAS)
    second = Adam(groups_of(part), BETAS)
    for step in range(1, 5):
        if step == 3:
            second.load_state(part, {name: tensor.clone() for name, tensor in first.state(whole).items()})
            for name in part:
                part[name].copy_(whole[name])
        for named, optimizer in [(whole, first), (part, second)][: 1 if step < 3 else 2]:
            set_gradients(named, step)
            optimizer.step()
            optimizer.zero_grad()
            assert all(tensor.grad is None for tensor in named.values())
    assert all(torch.equal(whole[name], part[name]) for name in whole)


@pytest.mark.parametrize("key", ["step/b", "exp_avg/c"])
def test_the_state_names_every_parameter(key):
    named = parameters()
    assert key in Adam(groups_of(named), BETAS).state(named)
