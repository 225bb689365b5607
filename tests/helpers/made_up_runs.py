"""Run folders and aggregates with made-up numbers, laid out as the commands write them."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from mpdit.experiment.columns import FID, HELDOUT, HELDOUT_IMAGES, MAGNITUDES, RUNS
from mpdit.experiment.records import PlannedRun
from mpdit.system.seals import seal_file
from mpdit.training.training_log import COLUMNS as TRAINING

PROTOCOL = "ddpm50-guidance1-n1000-ema0.05-step100-seed0"
SCORE = tuple(name for name in FID.names if name != "protocol")
SCORE_FILE = "fid-efficientnet-lite0.csv"
LR = {"A": 1e-3, "B": 1e-3, "C": 2e-2, "D": 2e-2, "E": 2e-2, "E-leaky": 2e-2}


def entry(config="A", seed=0, **changes) -> dict:
    """An entry of plan.json."""
    axes = {
        "model": "DiT-Nano/2", "config": config, "modulation": "scale_shift", "lr": LR.get(config), "seed": seed,
        "data": "mnist8",
    }  # fmt: skip
    axes |= {key: value for key, value in changes.items() if key in axes}
    name = f"{axes['model'].replace('/', '-')}-{config}-{axes['modulation']}-lr{axes['lr']:g}-seed{seed}-0123abcd"
    rest = {"steps": 100, "scores": [f"samples/{PROTOCOL}/{SCORE_FILE}"], "paper_setting": False, "standard_lr": True}
    return {"run": name, **axes, **rest} | changes


def planned(*entries: dict) -> list[PlannedRun]:
    """The runs of a plan that has these entries."""
    return [PlannedRun.from_json(entry, "plan.json") for entry in entries]


def write_plan(path: Path, entries: list[dict]) -> Path:
    path.write_text(json.dumps({"experiment": "table1", "runs": entries}))
    return path


def replace_text(path: Path, old: str, new: str) -> None:
    """Replace a text that must be in the file, which keeps no seal."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new))
    seal_file(path).unlink(missing_ok=True)


def write_rows(path: Path, columns, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_run(runs: Path, entry: dict, status="trained", step=100, fid=50.0, magnitude=1.0, loss=0.5) -> Path:
    """Write a finished run with scores, magnitudes of two blocks and samples; one that diverged has none of these."""
    folder = runs / entry["run"]
    write_spec(folder, entry)
    ended = outcome(entry["run"]) | {"status": status, "step": step, "loss": loss}
    (folder / "trained.json").write_text(json.dumps(ended))
    write_training(folder, [(50, 0.75), (step, loss if status == "trained" else float("nan"))], status)
    is_trained = status == "trained"
    write_rows(folder / "magnitudes.csv", MAGNITUDES.names, magnitudes(entry["run"], magnitude) if is_trained else [])
    for path in entry["scores"]:
        score = score_row(entry, fid=fid)
        write_rows(folder / path, SCORE, [score] if is_trained else [])
        images = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((100, 8, 8, 3), np.uint8)
        arrays = {"arr_0": images, "labels": np.arange(100) % 10}
        np.savez(
            (folder / path).with_name("samples.npz"),
            **{key: a[: 100 if is_trained else 0] for key, a in arrays.items()},
        )
    return folder


def outcome(run: str) -> dict:
    """What trained.json holds for a run that was trained for 100 steps."""
    return {
        "run": run, "status": "trained", "step": 100, "steps": 100, "parameters": 214272, "images_per_second": 640.0,
        "seconds": 20.5, "peak_memory_mb": 500.1, "loss": 0.5, "latents": "ab" * 32, "device": "cpu", "threads": 1,
        "commit": "c0ffee", "versions": {"torch": "2.14"},
    }  # fmt: skip


def write_spec(folder: Path, entry: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    training = {"steps": entry["steps"], "batch_size": 128}
    (folder / "spec.json").write_text(json.dumps({**entry, "training": training}))


def write_training(folder: Path, points: list[tuple[int, float]], status="training", **values) -> None:
    values = {**dict.fromkeys(TRAINING, 1.5), "status": "training", **values}
    rows = [{**values, "step": step, "loss": loss} for step, loss in points]
    rows[-1]["status"] = status
    write_rows(folder / "training.csv", TRAINING, rows)


def write_begun_run(runs: Path, config="A", points=((10, 0.9), (20, 0.8125))) -> Path:
    """A run at the last of `points` (step, loss), of 100 steps of 128 images, at 64 images per second."""
    folder = runs / entry(config)["run"]
    write_spec(folder, entry(config))
    write_training(folder, list(points), images_per_second=64.0)
    return folder


def score_row(entry: dict, **changes) -> dict:
    axes = {key: entry[key] for key in ("run", "model", "config", "modulation", "lr", "seed", "data")}
    return {
        **axes, "sampler": "ddpm", "steps": 50, "guidance": 1.0, "count": 1000, "ema_width": 0.05, "step": 100,
        "sampling_seed": 0, "features": "efficientnet-lite0", "features_hash": "fe00", "reference": "mnist8",
        "reference_count": 5000, "reference_hash": "4e00", "fid": 50.0, "kid": 0.125, "kid_sd": 0.01,
        "fid_rank_deficient": True, "fid_floor": 12.25, "kid_floor": 0.0005, "floor_count": 1000, "commit": "c0ffee",
    } | changes  # fmt: skip


def magnitudes(run: str, level: float) -> list[dict]:
    """Residual stream of two blocks at two noise levels: `level` at the start, twice and four times it at the end."""
    return [
        {
            "run": run, "step": step, "ema_width": 0.05 if step else "", "kind": "activation", "block": block,
            "site": "residual", "timestep": timestep, "correlation": "",
            "magnitude": level * (1 + (step > 0) * (block + 2)) * tilt,
        }
        for step in (0, 50, 100)
        for block in (-1, 0, 1)
        for timestep, tilt in ((250, 0.75), (750, 1.25))
    ]  # fmt: skip


def write_losses(folder: Path, losses: tuple[float, ...] = (0.25,)) -> None:
    """Held-out losses of the run in this folder at the last step, in as many EMA widths, on two images."""
    widths = {0.05 * (position + 1): loss for position, loss in enumerate(losses)}
    rows = [
        {
            "run": folder.name, "step": 100, "ema_width": width, "part": "report", "images": 2, "draws": 32,
            "loss": loss, "loss_q1": 2 * loss, "loss_q2": loss, "loss_q3": loss / 2, "loss_q4": loss / 2,
            "variational": 0.01, "heldout": "be11",
        }
        for width, loss in widths.items()
    ]  # fmt: skip
    images = [
        {"run": folder.name, "ema_width": width, "image": image, "loss": loss * tilt}
        for width, loss in widths.items()
        for image, tilt in ((3, 0.5), (7, 1.5))
    ]
    write_rows(folder / "heldout.csv", HELDOUT.names, rows)
    write_rows(folder / "heldout_images.csv", HELDOUT_IMAGES.names, images)


def run_row(entry: dict, status="trained", step=100.0) -> dict:
    rest = dict.fromkeys(RUNS.names) | {"status": status, "step": step, "parameters": 1_234_567.0}
    rest |= {"tuning": "tuned", "tuning_rates": 8.0}
    return rest | {key: value for key, value in entry.items() if key in RUNS.names}


def frames(*runs: tuple, cost=None) -> dict:
    """The tables of runs (entry, status, scores): a score is what sets it apart from `score_row`. Sampling seeds are
    paired."""
    scores = [
        {"protocol": PROTOCOL, **score_row(entry, **{"sampling_seed": entry["seed"], **score})}
        for entry, _, scored in runs
        for score in scored
    ]
    return {
        "runs": pd.DataFrame([run_row(entry, status) for entry, status, _ in runs]),
        "fid": pd.DataFrame(scores, columns=FID.names),
        "cost": cost,
    }
