"""Half precision and compilation in every config and modulation."""

import pytest
import torch
from helpers.tiny_models import GRID, awaken, inputs, tiny

every_model = pytest.mark.parametrize(("config", "modulation"), GRID)


@every_model
def test_bfloat16_autocast_is_close_to_float32(config, modulation):
    """Under autocast the residual stream and the outputs stay in float32; products are accurate to 2^-8."""
    model = awaken(tiny(config, modulation))
    x, t, y = inputs(model)
    exact = model(x, t, y)
    dtypes = []
    model.blocks[0].register_forward_hook(lambda block, arguments, output: dtypes.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x, t, y)
    output.square().mean().backward()
    assert output.dtype == torch.float32
    assert dtypes == [torch.float32]
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert (output - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("config", ["A", "E"])
def test_a_model_in_bfloat16_runs(config):
    """Weights and products in bfloat16, the residual stream in float32: sampling needs no autocast."""
    model = awaken(tiny(config))
    x, t, y = inputs(model)
    exact = model(x, t, y)
    output = model.bfloat16()(x.bfloat16(), t, y)
    assert (output - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


TRACED = [
    ("A", "scale_shift"),
    ("C", "scale_rotate"),
    ("E", "rotate_full"),
]  # the others are slow


@pytest.mark.filterwarnings("default")  # torch's own warnings during compilation
@pytest.mark.parametrize(
    ("config", "modulation"),
    [pytest.param(*model, marks=[] if model in TRACED else pytest.mark.slow) for model in GRID],
)
def test_no_graph_breaks(config, modulation, fresh_compiler):
    """Forward and backward are traced as one graph; the code that Inductor generates from it is tested below."""
    model = awaken(tiny(config, modulation, depth=1))
    x, t, y = inputs(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    output = compiled(x, t, y)
    output.sum().backward()
    torch.testing.assert_close(output, model(x, t, y), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("config", "modulation"), [("A", "scale_shift"), ("E", "scale_rotate")])
def test_compiled_models_agree_with_eager_ones(config, modulation, fresh_compiler):
    model = awaken(tiny(config, modulation, depth=1))
    x, t, y = inputs(model)
    model(x, t, y).square().sum().backward()
    eager = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    output = torch.compile(model, fullgraph=True)(x, t, y)
    output.square().sum().backward()
    torch.testing.assert_close(output, model(x, t, y), rtol=1e-4, atol=1e-5)
    for one, other in zip(eager, model.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad, rtol=1e-3, atol=1e-4)
