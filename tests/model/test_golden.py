"""Stored numbers of every letter x modulation: outputs and gradient norms of a tiny awake model, float32 on the CPU.

They hold to a relative 1e-4 (other CPUs and torch versions sum in other orders; a changed formula misses by far more).
After an intended change, `python tests/test_golden.py` writes `tests/golden/models.json` anew; the diff is the review.
"""

import json
from pathlib import Path

import pytest
import torch
from helpers.tiny_models import GRID, awaken, inputs, tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "models.json"


def numbers(letter: str, modulation: str) -> dict[str, list[float]]:
    """Eight outputs spread over the first and last image, the outputs' magnitude, and the gradient's norm by module."""
    model = awaken(tiny(letter, modulation))
    x, t, y = inputs(model)
    output = model(x, t, y)
    ((output[:, :2] - x).square().mean() + output[:, 2:].pow(3).mean()).backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        gradients.setdefault(name.rsplit(".", 1)[0].removesuffix(".up").removesuffix(".down"), []).append(
            parameter.grad
        )
    norms = {name: torch.cat([grad.flatten() for grad in grads]).norm().item() for name, grads in gradients.items()}
    spread = [*output[0].flatten()[::19].tolist()[:4], *output[-1].flatten()[::19].tolist()[:4]]
    return {"output": spread, "magnitude": output.square().mean().sqrt().item(), "gradients": norms}


@pytest.mark.parametrize(("letter", "modulation"), GRID)
def test_golden_numbers(letter, modulation):
    stored, found = json.loads(GOLDEN.read_text())[f"{letter} {modulation}"], numbers(letter, modulation)
    assert found["output"] == pytest.approx(stored["output"], rel=1e-4, abs=1e-5)
    assert found["magnitude"] == pytest.approx(stored["magnitude"], rel=1e-4)
    assert found["gradients"] == pytest.approx(stored["gradients"], rel=1e-4, abs=1e-6)


def test_golden_numbers_tell_letters_and_modulations_apart():
    """C and D compute the same outputs from the same draws and differ in their gradients; all others differ in both."""
    stored = json.loads(GOLDEN.read_text())
    assert list(stored) == [f"{letter} {modulation}" for letter, modulation in GRID]
    outputs = [tuple(round(value, 4) for value in entry["output"]) for name, entry in stored.items() if name[0] != "D"]
    assert len(set(outputs)) == len(outputs)
    for name, entry in stored.items():
        if name[0] == "D":
            assert entry["output"] == pytest.approx(stored["C" + name[1:]]["output"], rel=1e-4, abs=1e-5)
            assert entry["gradients"] != pytest.approx(stored["C" + name[1:]]["gradients"], rel=0.1)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({f"{letter} {kind}": numbers(letter, kind) for letter, kind in GRID}, indent=1) + "\n")
