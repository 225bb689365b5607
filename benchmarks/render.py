"""Time the rendering of every table and figure of a study of 400 runs from its CSVs, in one process.

    python benchmarks/render.py                  # made-up numbers, in a temporary folder
    python benchmarks/render.py --folder FOLDER  # keep the CSVs and what is rendered there

The study is as large as a real one: five models, five seeds, 400,000 steps with a loss every 100 (in the CSVs where
losses are read), 16 snapshots traced at every site, block and noise level, FIDs at several steps and EMA widths. Only
its images are few and small. The time to make it up is not counted, the time to read the CSVs is.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mpdit import paper  # noqa: F401  # registers its tables and figures
from mpdit.evaluation.tracing import CORRELATIONS
from mpdit.experiment.block import Block
from mpdit.experiment.columns import ANGLES, AXES, COST, FID, MAGNITUDES, RUNS, TRAINING
from mpdit.experiment.grid import Experiment
from mpdit.experiment.ladder import LADDER, parse_model
from mpdit.experiment.run_spec import Protocol, RunSpec
from mpdit.model.modulation import MODULATIONS
from mpdit.rendering.artifacts import read, render
from mpdit.rendering.registry import ARTIFACTS, goals

STEPS, LOG_EVERY, SNAPSHOTS, TIMESTEPS, SEEDS = 400_000, 100, 16, (50, 250, 500, 750, 950), [0, 1, 2, 3, 4]
MODELS = ["DiT-XS/4", "DiT-XS/2", "DiT-S/4", "DiT-S/2", "DiT-B/4"]
CONFIGS = ["A", "B", "C", "D", "E"]
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]


def study(models: Sequence[str] = MODELS, seeds: Sequence[int] = SEEDS, steps: int = STEPS) -> Experiment:
    """The grid of the study; with the defaults it has 400 runs."""
    ladder = {"model": [*models], "config": CONFIGS, "modulation": ["scale_shift"], "seed": [*seeds]}
    quarter = steps // 4
    return Experiment({
        "data": {"name": "made_up", "source": "mnist", "resolution": 12},
        "training": {"steps": steps, "snapshots": 4 * SNAPSHOTS},
        "learning_rates": {"A": 1e-4, "B": 1e-4, "C": 1e-2, "D": 1e-2, "E": 1e-2},
        "experiments": {
            "table1": ladder,
            "table2": ladder | {"model": [*models[:3]], "config": ["E"], "modulation": list(MODULATIONS)},
            "learning_rate": ladder | {"model": [*models[:4]], "config": ["A", "E"], "lr": RATES},
            "over_training": ladder | {"sampling": {"step": [quarter, 2 * quarter, 3 * quarter, None]}},
            "ema_width": ladder | {"sampling": {"ema_width": [0.05, 0.1, 0.15, 0.2, None], "seeds": [0, 1]}},
        },
    })  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Made-up numbers: frames with the columns of mpdit.experiment.columns


def runs_frame(experiment: Experiment, runs: Iterable[RunSpec]) -> pd.DataFrame:
    """Runs of A diverge at high rates, some seeds at 1e-2 and all above; the last run of all is missing."""
    rows = []
    for run in runs:
        diverged = run.config == "A" and (run.lr > 1e-2 or (run.lr == 1e-2 and run.seed % 2))
        rows.append({
            **run.key(), "paper_setting": False, "standard_lr": run.lr == experiment.learning_rates[run.config],
            "status": "diverged" if diverged else "trained", "step": 1000 if diverged else run.training.steps,
            "steps": run.training.steps, "loss": 0.15, "parameters": 33e6, "images_per_second": 4000.0,
            "seconds": 25600.0, "peak_memory_mb": 9000.0, "latents": "ab" * 32, "device": "cuda", "threads": 1,
            "commit": "c0ffee",
        })  # fmt: skip
    rows[-1] |= {"status": "missing", "step": None}
    return pd.DataFrame(rows, columns=list(RUNS.names))


def fid_frame(runs: pd.DataFrame, protocols: Iterable[Protocol]) -> pd.DataFrame:
    """FIDs fall with training, and rise away from the best learning rate and EMA width of a configuration."""
    rows = []
    for run in _trained(runs).to_dict("records"):
        rung = list(LADDER).index(run["config"])
        for protocol in protocols:
            noise = np.random.default_rng([run["seed"], rung, protocol.sampling_seed, protocol.step]).normal()
            off_width = abs((protocol.ema_width or 0) - (0.05 + 0.02 * rung))
            off_rate = abs(np.log10(run["lr"]) + (3.5 if run["config"] < "C" else 2))
            untrained = 1 - protocol.step / run["steps"]
            fid = 60 - 2 * rung + 12 * off_rate + 40 * off_width + 150 * untrained**2 + noise
            rows.append({
                **{axis.name: run[axis.name] for axis in AXES}, "protocol": protocol.name, "sampler": "ddpm",
                "steps": 250, "guidance": 1.0, "count": protocol.count,
                "ema_width": protocol.ema_width, "step": protocol.step,
                "sampling_seed": protocol.sampling_seed, "features": "inception", "features_hash": "fe00",
                "reference": "made_up", "reference_count": 50_000, "reference_hash": "4e00", "fid": fid,
                "kid": fid / 1500, "kid_sd": 0.001, "fid_rank_deficient": False, "fid_floor": 3.1, "kid_floor": -2e-5,
                "floor_count": protocol.count, "commit": "c0ffee",
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(FID.names))


def training_frame(runs: pd.DataFrame, log_every: int = LOG_EVERY) -> pd.DataFrame:
    parts = []
    for run in runs[runs["status"] != "missing"].to_dict("records"):
        step = np.arange(log_every, run["step"] + 1, log_every)
        noise = np.random.default_rng(run["seed"]).normal(size=len(step))
        loss = 0.14 + 0.01 * "EDCBA".find(run["config"]) / 4 + 3 / (step + 100) ** 0.5 + 0.004 * noise
        status = np.where(step == step[-1], run["status"], "training")
        rest = dict.fromkeys(TRAINING.names, 0.25)
        parts.append(pd.DataFrame(rest | {"run": run["run"], "step": step, "loss": loss, "status": status}))
    return pd.concat(parts)[list(TRAINING.names)]


SITES = ("residual", "attention_input", "attention_output", "mlp_input", "mlp_output")
GROWTH = {"A": 3.5, "B": 2.8, "C": 0.4, "D": 0.3, "E": 0.1}  # of the residual stream, over training
WEIGHT_GROWTH = {"A": 0.5, "B": 0.4, "C": 5.0}
UNDER_CORRELATION = {"A": 1.5, "C": 0.7, "E": 0.5}


def magnitudes_frame(runs: pd.DataFrame, snapshots: int = SNAPSHOTS) -> pd.DataFrame:
    """The residual stream grows in A and B, D has a spike at the MLP's input, the weights of C grow without bound."""
    parts = []
    for run in _trained(runs).to_dict("records"):
        depth = parse_model(run["model"])[0].depth
        steps = np.arange(snapshots + 1) * run["steps"] // snapshots
        in_blocks = {"step": steps, "block": np.arange(depth), "site": SITES, "timestep": TIMESTEPS}
        parts.append(_activations(run, in_blocks, depth))

        at_ends = in_blocks | {"step": steps[[0, -1]], "correlation": CORRELATIONS}
        rows = _product(run, at_ends, kind="correlated")
        scale = UNDER_CORRELATION.get(run["config"], 1)
        rows["magnitude"] = scale * (0.4 + rows["correlation"]) * (1 + 0.05 * rows["block"])
        parts.append(rows)

        all_layers = {"step": steps, "block": np.arange(-1, depth + 1), "site": ("all", "qkv", "up")}
        rows = _product(run, all_layers, kind="weight")
        growth = WEIGHT_GROWTH.get(run["config"], 0) * (rows["step"] / run["steps"]) ** 0.5
        rows["magnitude"] = 1 + growth * (1 + rows["block"] / depth)
        parts.append(rows)

        if LADDER[run["config"]].weights != "plain":
            parts.append(_gains(run, steps, depth))
    return pd.concat(parts)[list(MAGNITUDES.names)]


def _activations(run: dict[str, Any], axes: dict[str, Any], depth: int) -> pd.DataFrame:
    rows = _product(run, axes, kind="activation")
    growth = GROWTH[run["config"]] * (1 + 0.02 * run["seed"])
    shape = (1 + rows["block"] / depth) * (1.2 - rows["timestep"] / 2500)
    spike = (run["config"] == "D") & (rows["site"] == "mlp_input") & (rows["block"] == depth // 2)
    rows["magnitude"] = (0.5 + growth * (rows["step"] / run["steps"]) ** 0.5 / 2) * shape * (1 + 4 * spike)
    return rows


def _gains(run: dict[str, Any], steps: np.ndarray, depth: int) -> pd.DataFrame:
    heads = (*MODULATIONS[run["modulation"]].heads, "gate")
    in_blocks = [f"{branch}_{head}" for branch in ("attention", "mlp") for head in heads]
    final = ("scale", "shift", "noise", "variance")
    rows = pd.concat([
        _product(run, {"step": steps, "block": np.arange(depth), "site": in_blocks}, kind="gain"),
        _product(run, {"step": steps, "block": [depth], "site": final}, kind="gain"),
    ])  # fmt: skip
    direction = {site: np.sin(i + 1) for i, site in enumerate(rows["site"].unique())}
    rows["magnitude"] = rows["site"].map(direction) * (rows["step"] / run["steps"]) ** 0.5 * (1 - 0.05 * rows["block"])
    return rows


def angles_frame(runs: pd.DataFrame, snapshots: int = SNAPSHOTS) -> pd.DataFrame:
    parts = [pd.DataFrame(columns=list(ANGLES.names))]
    for run in _trained(runs[runs["modulation"].isin(("rotate", "scale_rotate"))]).to_dict("records"):
        depth = parse_model(run["model"])[0].depth
        steps = np.arange(snapshots + 1) * run["steps"] // snapshots
        sites = ("attention_angle", "mlp_angle")
        axes = {"step": steps, "block": np.arange(depth), "site": sites, "timestep": TIMESTEPS}
        rows = _product(run, axes)
        trained, noise = rows["step"] / run["steps"], 1 - rows["timestep"] / 2000
        rows["radians"] = 0.6 * trained * (1 + rows["block"] / depth) * noise
        parts.append(rows[list(ANGLES.names)])
    return pd.concat(parts)


def cost_frame(runs: pd.DataFrame) -> pd.DataFrame:
    measured = runs.drop_duplicates(["model", "config", "modulation"])
    rest = {"parameters": 33e6, "flops": 6e9, "step_seconds": 0.1, "relative": 1.05, "relative_low": 1.04,
            "relative_high": 1.06, "rounds": 20, "device": "cuda", "threads": 1}  # fmt: skip
    forms = [measured.assign(form=form, **rest) for form in ("cheap", "textbook")]
    return pd.concat(forms)[list(COST.names)]


def _trained(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] == "trained"]


def _product(run: dict[str, Any], axes: dict[str, Any], **values: Any) -> pd.DataFrame:
    """One row per combination of the axes' values."""
    rows = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    empty = {key: "" for key in ("timestep", "correlation") if key not in axes}
    return rows.assign(run=run["run"], ema_width=np.where(rows["step"] > 0, "0.05", ""), **empty, **values)


# ---------------------------------------------------------------------------------------------------------------------


def make_up(experiment: Experiment, folder: Path, log_every: int = LOG_EVERY) -> dict[str, Path]:
    """Write the CSVs that artifacts read, and samples. Returns the folder of each artifact's CSVs, by its name."""
    written: set[tuple[str | None, str]] = set()
    folders: dict[str, Path] = {}
    for name, block in goals(experiment.blocks, experiment.aggregates).items():
        folders[name] = folder / (f"experiments/{block}" if block else "results")
        folders[name].mkdir(parents=True, exist_ok=True)
        blocks = [experiment.blocks[block]] if block else list(experiment.blocks.values())
        runs = runs_frame(experiment, {run.name: run for part in blocks for run in part.runs}.values())
        frames: dict[str, Callable[[], pd.DataFrame]] = {
            "runs": lambda runs=runs: runs,
            "fid": lambda runs=runs, blocks=blocks: _scores(runs, blocks),
            "training": lambda runs=runs: training_frame(runs, log_every),
            "magnitudes": lambda runs=runs: magnitudes_frame(runs),
            "angles": lambda runs=runs: angles_frame(runs),
            "cost": lambda runs=runs: cost_frame(runs),
        }
        for subject in dict.fromkeys(("runs", *ARTIFACTS[name].reads)):
            if (block, subject) in written or subject == "settings":  # a study may have none
                continue
            written.add((block, subject))
            if subject == "samples":
                _write_samples(runs, blocks[0].protocols[0].name, folder / "runs")
            else:
                frames[subject]().to_csv(folders[name] / f"{subject}.csv", index=False, float_format="%.7g")
    return folders


def _scores(runs: pd.DataFrame, blocks: Iterable[Block]) -> pd.DataFrame:
    parts = [fid_frame(runs[runs["run"].isin([run.name for run in block.runs])], block.protocols) for block in blocks]
    return pd.concat(parts).drop_duplicates(["run", "protocol"])


def _write_samples(runs: pd.DataFrame, protocol: str, folder: Path) -> None:
    labels = np.arange(200) % 10
    noise = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), np.uint8)
    images = (noise // 2 + 12 * labels[:, None, None, None]).astype(np.uint8)
    for run in _trained(runs)["run"]:
        path = folder / run / "samples" / protocol / "samples.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, arr_0=images, labels=labels)


def render_all(folders: dict[str, Path], folder: Path) -> dict[str, tuple[float, float]]:
    """Read and render every artifact. Returns the seconds that either took, by the artifact's name."""
    seconds = {}
    for name, place in folders.items():
        artifact, start = ARTIFACTS[name], time.perf_counter()
        data = read(artifact, place, runs=folder / "runs")
        middle = time.perf_counter()
        render(artifact, data, folder / "rendered" / f"{name}{artifact.suffixes[0]}")
        seconds[name] = middle - start, time.perf_counter() - middle
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep everything here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, experiment = arguments.folder or Path(temporary), study()
        folders = make_up(experiment, folder)
        print(f"{len(experiment.runs)} runs")
        seconds = render_all(folders, folder)
    print("| artifact | reading (s) | rendering (s) |\n|---|---|---|")
    for name, (reading, rendering) in seconds.items():
        print(f"| {name} | {reading:.2f} | {rendering:.2f} |")
    print(f"{len(seconds)} artifacts: {sum(map(sum, seconds.values())):.1f} s")


if __name__ == "__main__":
    main()
