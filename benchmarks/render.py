"""How long it takes to render every table and figure of a study of 400 runs from its CSVs, in one process.

    python benchmarks/render.py                  # made-up numbers, in a temporary folder
    python benchmarks/render.py --folder FOLDER  # keep the CSVs and what is rendered there

The study is as large as a real one: five models, five seeds, 400,000 steps with a loss every 100 (where CSVs of losses
are read), 16 snapshots traced at every site, block and noise level, FIDs at several steps and EMA widths. Its images
alone are few and small. Making it up is not timed; reading the CSVs is.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mpdit import paper
from mpdit.evaluation.tracing import CORRELATIONS
from mpdit.experiment.columns import ANGLES, AXES, COST, FID, MAGNITUDES, RUNS, TRAINING
from mpdit.experiment.grid import Experiment
from mpdit.experiment.ladder import LADDER, parse_model
from mpdit.model.modulation import MODULATIONS

STEPS, LOGGED, TRACED, TIMESTEPS, SEEDS = 400_000, 100, 16, (50, 250, 500, 750, 950), [0, 1, 2, 3, 4]
MODELS = ["DiT-XS/4", "DiT-XS/2", "DiT-S/4", "DiT-S/2", "DiT-B/4"]
LETTERS = ["A", "B", "C", "D", "E"]
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]


def study(models: list[str] = MODELS, seeds: list[int] = SEEDS, steps: int = STEPS) -> Experiment:
    """The grid; with the defaults it has 400 runs."""
    ladder = {"model": models, "config": LETTERS, "modulation": ["scale_shift"], "seed": seeds}
    quarter = steps // 4
    return Experiment({
        "data": {"name": "made_up", "source": "mnist", "resolution": 12},
        "training": {"steps": steps, "snapshots": 4 * TRACED},
        "learning_rates": {"A": 1e-4, "B": 1e-4, "C": 1e-2, "D": 1e-2, "E": 1e-2},
        "experiments": {
            "table1": ladder,
            "table2": ladder | {"model": models[:3], "config": ["E"], "modulation": list(MODULATIONS)},
            "learning_rate": ladder | {"model": models[:4], "config": ["A", "E"], "lr": RATES},
            "over_training": ladder | {"sampling": {"step": [quarter, 2 * quarter, 3 * quarter, None]}},
            "ema_width": ladder | {"sampling": {"ema_width": [0.05, 0.1, 0.15, 0.2, None], "seeds": [0, 1]}},
        },
    })  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Made-up numbers: pandas frames of the columns of mpdit.experiment.columns


def runs_frame(experiment: Experiment, runs) -> pd.DataFrame:
    """Of the runs A diverges at high rates, in some seeds or in all; the last of all is missing."""
    rows = []
    for run in runs:
        diverged = run.config == "A" and (run.lr > 1e-2 or (run.lr == 1e-2 and run.seed % 2))
        rows.append({
            **run.key(), "paper_setting": False, "standard_lr": True, "status": "diverged" if diverged else "trained",
            "step": 1000 if diverged else run.training["steps"], "steps": run.training["steps"], "loss": 0.15,
            "parameters": 33e6, "images_per_second": 4000.0, "seconds": 25600.0, "peak_memory_mb": 9000.0,
            "latents": "ab" * 32, "device": "cuda", "threads": 1, "commit": "c0ffee",
        })  # fmt: skip
    rows[-1] |= {"status": "missing", "step": None}
    return pd.DataFrame(rows, columns=RUNS.names)


def fid_frame(runs: pd.DataFrame, protocols) -> pd.DataFrame:
    """FIDs that fall with training and rise away from a letter's best EMA width."""
    rows = []
    for run in _alive(runs).to_dict("records"):
        place = list(LADDER).index(run["config"])
        for protocol in protocols:
            noise = np.random.default_rng([run["seed"], place, protocol.sampling_seed, protocol.step]).normal()
            off = abs((protocol.ema_width or 0) - (0.05 + 0.02 * place))
            rate = abs(np.log10(run["lr"]) + (3.5 if run["config"] < "C" else 2))
            fid = 60 - 2 * place + 12 * rate + 40 * off + 150 * (1 - protocol.step / run["steps"]) ** 2 + noise
            rows.append({
                **{axis.name: run[axis.name] for axis in AXES}, "protocol": protocol.name, "sampler": "ddpm",
                "steps": 250, "guidance": 1.0, "count": protocol.count,
                "ema_width": protocol.ema_width, "step": protocol.step,
                "sampling_seed": protocol.sampling_seed, "features": "inception", "features_hash": "fe00",
                "reference": "made_up", "reference_count": 50_000, "reference_hash": "4e00", "fid": fid,
                "kid": fid / 1500, "kid_sd": 0.001, "fid_rank_deficient": False, "fid_floor": 3.1, "kid_floor": -2e-5,
                "floor_count": protocol.count, "commit": "c0ffee",
            })  # fmt: skip
    return pd.DataFrame(rows, columns=FID.names)


def training_frame(runs: pd.DataFrame, logged: int = LOGGED) -> pd.DataFrame:
    parts = []
    for run in _begun(runs).to_dict("records"):
        step = np.arange(logged, run["step"] + 1, logged)
        noise = np.random.default_rng(run["seed"]).normal(size=len(step))
        loss = 0.14 + 0.01 * "EDCBA".find(run["config"]) / 4 + 3 / (step + 100) ** 0.5 + 0.004 * noise
        status = np.where(step == step[-1], run["status"], "training")
        rest = dict.fromkeys(TRAINING.names, 0.25)
        parts.append(pd.DataFrame(rest | {"run": run["run"], "step": step, "loss": loss, "status": status}))
    return pd.concat(parts)[list(TRAINING.names)]


SITES = ("residual", "attention_input", "attention_output", "mlp_input", "mlp_output")
GROWTH = {"A": 3.5, "B": 2.8, "C": 0.4, "D": 0.3, "E": 0.1}  # of the residual stream, over training


def magnitudes_frame(runs: pd.DataFrame, traced: int = TRACED) -> pd.DataFrame:
    """The residual stream grows in A and B, D has a spike at the MLP's input, the weights of C grow without bound."""
    parts = []
    for run in _alive(runs).to_dict("records"):
        depth = parse_model(run["model"])[0].depth
        steps = np.arange(traced + 1) * run["steps"] // traced
        growth = GROWTH[run["config"]] * (1 + 0.02 * run["seed"])
        axes = {"step": steps, "block": np.arange(depth), "site": SITES, "timestep": TIMESTEPS}
        rows = _product(run, "activation", axes)
        shape = (1 + rows["block"] / depth) * (1.2 - rows["timestep"] / 2500)
        spike = (run["config"] == "D") & (rows["site"] == "mlp_input") & (rows["block"] == depth // 2)
        rows["magnitude"] = (0.5 + growth * (rows["step"] / run["steps"]) ** 0.5 / 2) * shape * (1 + 4 * spike)
        parts.append(rows)
        rows = _product(run, "correlated", axes | {"step": steps[[0, -1]], "correlation": CORRELATIONS})
        letter = {"A": 1.5, "C": 0.7, "E": 0.5}.get(run["config"], 1)
        rows["magnitude"] = letter * (0.4 + rows["correlation"]) * (1 + 0.05 * rows["block"])
        parts.append(rows)
        rows = _product(run, "weight", {"step": steps, "block": np.arange(-1, depth + 1), "site": ("all", "qkv", "up")})
        grown = {"A": 0.5, "B": 0.4, "C": 5.0}.get(run["config"], 0) * (rows["step"] / run["steps"]) ** 0.5
        rows["magnitude"] = 1 + grown * (1 + rows["block"] / depth)
        parts.append(rows)
        if run["config"] >= "C":
            heads = [f"{branch}_{head}" for branch in ("attention", "mlp")
                     for head in (*MODULATIONS[run["modulation"]].heads, "gate")]  # fmt: skip
            rows = _product(run, "gain", {"step": steps, "block": np.arange(depth), "site": heads})
            last = _product(
                run, "gain", {"step": steps, "block": [depth], "site": ("scale", "shift", "noise", "variance")}
            )
            rows = pd.concat([rows, last])
            way = rows["site"].map({site: np.sin(i + 1) for i, site in enumerate(rows["site"].unique())})
            rows["magnitude"] = way * (rows["step"] / run["steps"]) ** 0.5 * (1 - 0.05 * rows["block"])
            parts.append(rows)
    return pd.concat(parts)[list(MAGNITUDES.names)]


def angles_frame(runs: pd.DataFrame, traced: int = TRACED) -> pd.DataFrame:
    parts = [pd.DataFrame(columns=ANGLES.names)]
    for run in _alive(runs[runs["modulation"].isin(("rotate", "scale_rotate"))]).to_dict("records"):
        depth = parse_model(run["model"])[0].depth
        steps = np.arange(traced + 1) * run["steps"] // traced
        axes = {
            "step": steps,
            "block": np.arange(depth),
            "site": ("attention_angle", "mlp_angle"),
            "timestep": TIMESTEPS,
        }
        rows = _product(run, "angle", axes)
        rows["radians"] = (
            0.6 * rows["step"] / run["steps"] * (1 + rows["block"] / depth) * (1 - rows["timestep"] / 2000)
        )
        parts.append(rows[list(ANGLES.names)])
    return pd.concat(parts)


def cost_frame(runs: pd.DataFrame) -> pd.DataFrame:
    found = runs.drop_duplicates(["model", "config", "modulation"])
    rest = {"parameters": 33e6, "flops": 6e9, "step_seconds": 0.1, "relative": 1.05, "relative_low": 1.04,
            "relative_high": 1.06, "rounds": 20, "device": "cuda", "threads": 1}  # fmt: skip
    forms = [found.assign(form=form, **rest) for form in ("cheap", "textbook")]
    return pd.concat(forms)[list(COST.names)]


def _alive(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] == "trained"]


def _begun(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] != "missing"]


def _product(run: dict, kind: str, axes: dict) -> pd.DataFrame:
    """A row a combination of the axes' values."""
    rows = pd.MultiIndex.from_product(axes.values(), names=axes).to_frame(index=False)
    empty = {key: "" for key in ("timestep", "correlation") if key not in axes}
    return rows.assign(run=run["run"], kind=kind, ema_width=np.where(rows["step"] > 0, "0.05", ""), **empty)


# ---------------------------------------------------------------------------------------------------------------------


def make_up(experiment: Experiment, folder: Path, logged: int = LOGGED) -> dict[str, Path]:
    """Write the CSVs that artefacts read, and samples; gives the folder of each artefact's CSVs."""
    made, places = {}, {}
    for name, artefact in paper.ARTEFACTS.items():
        block = next((block for block in artefact.experiments if block in experiment.blocks), None)
        if block is None and artefact.experiments:
            continue
        blocks = [experiment.blocks[block]] if block else list(experiment.blocks.values())
        places[name] = folder / (f"experiments/{block}" if block else "results")
        places[name].mkdir(parents=True, exist_ok=True)
        runs = runs_frame(experiment, {run.name: run for found in blocks for run in found.runs}.values())
        for subject in {"runs", *artefact.reads}:
            if (block, subject) in made:
                continue
            made[block, subject] = True
            if subject == "samples":
                _write_samples(runs, blocks[0].protocols[0].name, folder / "runs")
            else:
                frame = {
                    "runs": lambda runs=runs: runs,
                    "fid": lambda runs=runs, blocks=blocks: _scores(runs, blocks),
                    "training": lambda runs=runs: training_frame(runs, logged),
                    "magnitudes": lambda runs=runs: magnitudes_frame(runs),
                    "angles": lambda runs=runs: angles_frame(runs),
                    "cost": lambda runs=runs: cost_frame(runs),
                }[subject]()
                frame.to_csv(places[name] / f"{subject}.csv", index=False, float_format="%.7g")
    return places


def _scores(runs: pd.DataFrame, blocks) -> pd.DataFrame:
    parts = [fid_frame(runs[runs["run"].isin([run.name for run in block.runs])], block.protocols) for block in blocks]
    return pd.concat(parts).drop_duplicates(["run", "protocol"])


def _write_samples(runs: pd.DataFrame, protocol: str, folder: Path) -> None:
    labels = np.arange(200) % 10
    images = (
        np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), np.uint8) // 2 + 12 * labels[:, None, None, None]
    )
    for run in _alive(runs)["run"]:
        path = folder / run / "samples" / protocol / "samples.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, arr_0=images.astype(np.uint8), labels=labels)


def render(places: dict[str, Path], folder: Path) -> dict[str, tuple[float, float]]:
    """Read and render every artefact; seconds of either, by its name."""
    took = {}
    for name, place in places.items():
        artefact, start = paper.ARTEFACTS[name], time.perf_counter()
        data = paper.read(artefact, place, runs=folder / "runs")
        read = time.perf_counter()
        paper.render(artefact, data, folder / "rendered" / f"{name}{artefact.suffixes[0]}")
        took[name] = read - start, time.perf_counter() - read
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep everything here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, experiment = arguments.folder or Path(temporary), study()
        places = make_up(experiment, folder)
        print(f"{len(experiment.runs)} runs")
        took = render(places, folder)
    print("| artefact | reading (s) | rendering (s) |\n|---|---|---|")
    for name, (read, drawn) in took.items():
        print(f"| {name} | {read:.2f} | {drawn:.2f} |")
    print(f"{len(took)} artefacts: {sum(map(sum, took.values())):.1f} s")


if __name__ == "__main__":
    main()
