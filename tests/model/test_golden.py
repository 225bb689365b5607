"""Golden numbers: outputs and gradient norms of a tiny model in every config and modulation, float32 on the CPU.

They must agree to a relative 1e-4, because other CPUs and versions of torch sum in other orders; a changed formula
differs by far more. After an intended change, run `PYTHONPATH=tests python tests/model/test_golden.py` to write
`tests/golden/models.json` again, and review the diff.
"""

import json
from pathlib import Path

import pytest
import torch
from helpers.tiny_models import GRID, awaken, inputs, tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "models.json"


def numbers(config: str, modulation: str) -> dict[str, list[float]]:
    """Eight outputs from the first and last image, the magnitude of the output, and gradient norms by module."""
    model = awaken(tiny(config, modulation))
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


@pytest.mark.parametrize(("config", "modulation"), GRID)
def test_golden_numbers(config, modulation):
    stored, current = json.loads(GOLDEN.read_text())[f"{config} {modulation}"], numbers(config, modulation)
    assert current["output"] == pytest.approx(stored["output"], rel=1e-4, abs=1e-5)
    assert current["magnitude"] == pytest.approx(stored["magnitude"], rel=1e-4)
    assert current["gradients"] == pytest.approx(stored["gradients"], rel=1e-4, abs=1e-6)


def test_golden_numbers_distinguish_configs_and_modulations():
    """C and D give the same outputs from the same draws but different gradients; all others differ in both."""
    stored = json.loads(GOLDEN.read_text())
    assert list(stored) == [f"{config} {modulation}" for config, modulation in GRID]
    outputs = [tuple(round(value, 4) for value in entry["output"]) for name, entry in stored.items() if name[0] != "D"]
    assert len(set(outputs)) == len(outputs)
    for name, entry in stored.items():
        if name[0] == "D":
            assert entry["output"] == pytest.approx(stored["C" + name[1:]]["output"], rel=1e-4, abs=1e-5)
            assert entry["gradients"] != pytest.approx(stored["C" + name[1:]]["gradients"], rel=0.1)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({f"{config} {kind}": numbers(config, kind) for config, kind in GRID}, indent=1) + "\n")
