"""Products by oneDNN equal torch's own but for rounding, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from mpdit.model import products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")

SHAPES = [((4, 9, 64), 192), ((36, 256), 64), ((5, 17), 3), ((1, 1, 8), 8)]


def operands(shape, outputs):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=random, requires_grad=True)
    weight = torch.randn(outputs, shape[-1], generator=random, requires_grad=True)
    return x, weight, torch.randn(*shape[:-1], outputs, generator=random)


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    monkeypatch.setattr(products, "SMALLEST", 0)


@pytest.mark.parametrize(("shape", "outputs"), SHAPES)
def test_outputs_and_gradients_are_those_of_torch(shape, outputs):
    x, weight, gradient = operands(shape, outputs)
    output, expected = products.linear(x, weight), F.linear(x, weight)
    assert "Linear" in output.grad_fn.name() and output.grad_fn.name() != expected.grad_fn.name()
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-4)
    for own, torchs in zip(
        torch.autograd.grad(output, (x, weight), gradient),
        torch.autograd.grad(expected, (x, weight), gradient),
        strict=True,
    ):
        assert own.shape == torchs.shape
        torch.testing.assert_close(own, torchs, rtol=1e-5, atol=1e-4)


def test_operands_may_be_views():
    x, weight, _ = operands((6, 8, 16), 16)
    for view in (x.transpose(0, 1), x[:, ::2], x.expand(2, 6, 8, 16)):
        torch.testing.assert_close(products.linear(view, weight.t()), F.linear(view, weight.t()), rtol=1e-5, atol=1e-5)
    output = products.linear(x, weight)
    (gradient,) = torch.autograd.grad(output.sum(), weight)  # an expanded gradient
    torch.testing.assert_close(gradient, torch.autograd.grad(F.linear(x, weight).sum(), weight)[0])


def test_only_the_gradients_that_are_asked_for_are_computed():
    x, weight, gradient = operands((36, 64), 64)
    products.linear(x.detach(), weight).backward(gradient)
    assert weight.grad is not None and x.grad is None
    products.linear(x, weight.detach()).backward(gradient)
    assert x.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_torch(dtype):
    x, weight, _ = operands((4, 9, 64), 64)
    x, weight = x.to(dtype), weight.to(dtype)
    assert torch.equal(products.linear(x, weight), F.linear(x, weight))
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(x.float(), weight.float()).dtype == torch.bfloat16


def test_small_products_are_left_to_torch(monkeypatch):
    x, weight, _ = operands((4, 8), 4)
    monkeypatch.setattr(products, "SMALLEST", 4 * 8 * 4)
    assert "_Linear" in products.linear(x, weight).grad_fn.name()
    monkeypatch.setattr(products, "SMALLEST", 4 * 8 * 4 + 1)
    assert "_Linear" not in products.linear(x, weight).grad_fn.name()
