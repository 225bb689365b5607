"""Modulations are the identity at zero heads, rotations are isometries, and parameter counts are as documented."""

import math

import pytest
import torch
from helpers.effort import EFFORT
from helpers.tiny_models import awaken, inputs, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from mpdit.experiment import ladder
from mpdit.model.layers import magnitude
from mpdit.model.modulation import MODULATIONS, REFLECTION_PAIRS, reflect, rotate

WIDTH = 16
seeds = st.integers(0, 2**31)
few = settings(max_examples=25 * EFFORT, deadline=None)
every_kind = pytest.mark.parametrize("kind", MODULATIONS)
every_rotation = pytest.mark.parametrize("kind", ["rotate", "rotate_full"])


def normal(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def modulate(kind: str, x: torch.Tensor, size: float = 1.0, seed: int = 0) -> torch.Tensor:
    """The modulation of x (N, T, D) by random normal base directions and heads, the heads of magnitude `size`."""
    modulation, (count, _, width) = MODULATIONS[kind], x.shape
    heads = [
        size * normal(seed + i, count, 1, int(s * width), dtype=x.dtype)
        for i, s in enumerate(modulation.heads.values())
    ]
    base = normal(seed + 9, modulation.base, width, dtype=x.dtype) / width**0.5 if modulation.base else None
    return modulation.apply(x, tuple(heads), base)


def test_every_modulation_of_the_ladder_has_a_function():
    assert tuple(MODULATIONS) == ladder.MODULATIONS


@every_kind
def test_zero_heads_are_the_identity(kind):
    x = normal(0, 2, 3, WIDTH)
    y = modulate(kind, x, size=0.0)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-14)


@every_kind
def test_the_output_depends_on_the_condition(kind):
    x = normal(0, 1, 3, WIDTH).expand(2, 3, WIDTH)
    y = modulate(kind, x)
    assert (y - x).abs().max() > 0.1
    assert (y[0] - y[1]).abs().max() > 0.1


@every_rotation
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 0.02)]
)
@few
@given(seed=seeds, size=st.floats(0, 1e3), scale=st.floats(1e-3, 1e3))
def test_rotation_is_an_isometry(kind, dtype, tolerance, seed, size, scale):
    """Every token keeps its norm (Lemma 2) to the precision of its type: 2^-8 per product in bfloat16."""
    x = (scale * normal(seed, 2, 5, WIDTH)).to(dtype)
    y = modulate(kind, x, size, seed + 1)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double().norm(dim=-1), x.double().norm(dim=-1), rtol=tolerance, atol=0)


@every_rotation
def test_rotation_preserves_angles_and_orientation(kind):
    """The matrix is orthogonal with determinant one: a rotation, not a reflection."""
    matrix = modulate(kind, torch.eye(WIDTH, dtype=torch.float64).unsqueeze(0))[0]
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(WIDTH, dtype=torch.float64))
    assert torch.linalg.det(matrix).item() == pytest.approx(1)


@few
@given(seed=seeds)
def test_rotation_of_pairs_is_complex_multiplication(seed):
    x, angle = normal(seed, 2, 5, WIDTH), 3 * normal(seed + 1, 2, 1, WIDTH // 2)
    real, imaginary = x.chunk(2, -1)
    y = torch.complex(real, imaginary) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(rotate(x, angle), torch.cat((y.real, y.imag), -1))
    torch.testing.assert_close(rotate(rotate(x, angle), -angle), x)


@few
@given(seed=seeds, length=st.floats(1e-3, 1e3))
def test_reflection_is_its_own_inverse(seed, length):
    x, direction = normal(seed, 2, 5, WIDTH), length * normal(seed + 1, 2, 1, WIDTH)
    y = reflect(x, direction)
    torch.testing.assert_close(reflect(y, direction), x)
    torch.testing.assert_close((y * direction).sum(-1), -(x * direction).sum(-1))


def test_full_rotation_mixes_all_features():
    """Rotation of pairs mixes features within each pair; the full rotation mixes each feature with all others."""
    x = torch.eye(WIDTH, dtype=torch.float64).unsqueeze(0)
    assert (modulate("rotate_full", x)[0] != 0).all()
    assert (modulate("rotate", x)[0] != 0).sum() == 2 * WIDTH


def test_scale_comes_before_rotation():
    x, scale, angle = normal(0, 2, 5, WIDTH), normal(1, 2, 1, WIDTH), normal(2, 2, 1, WIDTH // 2)
    y = MODULATIONS["scale_rotate"].apply(x, (scale, angle), None)
    torch.testing.assert_close(y, rotate((1 + scale) * x, angle))


def test_scale_and_shift_equal_their_formulas():
    x, scale, shift = normal(0, 2, 5, WIDTH), normal(1, 2, 1, WIDTH), normal(2, 2, 1, WIDTH)
    torch.testing.assert_close(MODULATIONS["scale"].apply(x, (scale,), None), (1 + scale) * x)
    torch.testing.assert_close(MODULATIONS["shift"].apply(x, (shift,), None), x + shift)
    torch.testing.assert_close(MODULATIONS["scale_shift"].apply(x, (scale, shift), None), (1 + scale) * x + shift)


@pytest.mark.parametrize(
    ("kind", "growth"), [("scale", math.sqrt(1.25)), ("scale_shift", math.sqrt(1.5)), ("rotate", 1.0)]
)
def test_heads_change_magnitude_by_a_known_factor(kind, growth):
    """For heads of magnitude g = 0.5: sqrt(1 + g^2) for scale, sqrt(1 + 2 g^2) with shift, exactly 1 for rotation."""
    x = normal(7, 2000, 4, 64)
    ratio = (magnitude(modulate(kind, x, size=0.5)) / magnitude(x)).item()
    assert ratio == pytest.approx(growth, abs=1e-12 if kind == "rotate" else 0.01)


@every_kind
@pytest.mark.parametrize("config", ["A", "E"])
def test_parameter_counts(kind, config):
    """Besides the gates, in units of D^2 per branch: scale and shift 1 each, rotate 1/2, rotate_full 2 (plus 2 D)."""
    extra = {"scale": 1, "shift": 1, "scale_shift": 2, "rotate": 0.5, "scale_rotate": 1.5, "rotate_full": 2}[kind]
    block = tiny(config, kind).blocks[0]
    heads = 2 * (1 + extra) * WIDTH**2
    rest = 2 * REFLECTION_PAIRS * WIDTH if kind == "rotate_full" else 0
    gains = len(block.head_names) if config == "E" else 0
    attention_and_mlp = 12 * WIDTH**2
    assert sum(p.numel() for p in block.parameters()) == attention_and_mlp + heads + rest + gains


@every_kind
@pytest.mark.parametrize("config", ["A", "E"])
def test_gates_scale_the_branches_under_every_modulation(kind, config):
    """With gates of zero (head = -offset), a block of Config A is the identity."""
    model = awaken(tiny(config, kind))
    block = model.blocks[0]
    names = [name for name in block.head_names if name.endswith("gate")]
    assert names == ["attention_gate", "mlp_gate"]
    x, t, y = inputs(model)
    tokens, condition = model.embed(x), model.condition(t, y)
    heads = dict(zip(block.head_names, block.heads(condition), strict=True))
    assert all(heads[name].shape == (3, 1, WIDTH) for name in names)
    changed = {name: -block.gate_offset + 0 * head if name in names else head for name, head in heads.items()}
    block.heads = lambda condition: tuple(changed.values())
    keep = 1.0 if config == "A" else (0.7 / math.hypot(0.7, 0.3)) ** 2  # an MP sum scales the stream, twice
    torch.testing.assert_close(block(tokens, condition), keep * tokens)


@every_kind
def test_every_head_affects_the_output(kind):
    """No head is read twice, and none is forgotten."""
    model = awaken(tiny("E", kind))
    block = model.blocks[0]
    x, t, y = inputs(model)
    tokens, condition = model.embed(x), model.condition(t, y)
    before = block(tokens, condition)
    for index in range(len(block.head_names)):
        gain = block.modulation.gain.detach().clone()
        with torch.no_grad():
            block.modulation.gain[index] += 0.5
            after = block(tokens, condition)
            block.modulation.gain.copy_(gain)
        assert (after - before).abs().max() > 1e-3, block.head_names[index]
