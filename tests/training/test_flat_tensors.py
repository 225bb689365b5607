"""Tensors that share one flat tensor."""

import torch

from mpdit.training.flat_tensors import ALIGNMENT, FlatTensors


def named():
    return {
        "gain": torch.arange(3.0),
        "a": torch.arange(12.0).view(4, 3) + 10,
        "b": torch.arange(6.0).view(2, 3) + 30,
        "c": torch.arange(5.0).view(1, 5) + 50,
    }


def flat_and_tensors():
    tensors = {name: torch.nn.Parameter(tensor) for name, tensor in named().items()}
    groups = [{"gain": tensors["gain"]}, {"a": tensors["a"], "b": tensors["b"]}, {"c": tensors["c"]}]
    return FlatTensors(groups), tensors


def test_tensors_keep_their_values_and_follow_the_flat_one():
    flat, tensors = flat_and_tensors()
    for name, tensor in named().items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].is_contiguous() and isinstance(tensors[name], torch.nn.Parameter)
    flat.values += 1
    for name, tensor in named().items():
        assert torch.equal(tensors[name], tensor + 1)
        assert torch.equal(flat.views(flat.values)[name], tensor + 1)


def test_a_group_is_one_matrix_of_all_its_rows():
    flat, tensors = flat_and_tensors()
    gains, rows, last = flat.groups()
    assert torch.equal(rows.view(-1, 3), torch.cat([tensors["a"], tensors["b"]]))
    assert (len(gains), last.tolist()) == (3, tensors["c"].flatten().tolist())
    rows.zero_()
    assert not tensors["a"].any() and not tensors["b"].any() and tensors["c"].all()


def test_groups_are_aligned_and_what_lies_between_them_is_zero():
    flat, tensors = flat_and_tensors()
    assert len(flat.values) == 16 + 32 + 16
    assert [group.storage_offset() % ALIGNMENT for group in flat.groups()] == [0, 0, 0]
    assert flat.values.square().sum() == sum(tensor.square().sum() for tensor in tensors.values())
