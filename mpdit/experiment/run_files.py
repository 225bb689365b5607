"""Names of the files in a run folder, in a folder of samples and in a folder of latents."""

import re
from pathlib import Path

# A run folder, results/runs/<run>/
SPEC = "spec.json"  # what defines the run
TRAINED = "trained.json"  # how training ended; written last
OUTCOME = "outcome.json"  # the same; Snakemake deletes trained.json before it trains a run again
TRAINING_TABLE = "training.csv"
TRAIN_LOG = "train.log"
LOCK = "lock"
CHECKPOINTS = "checkpoints"
SNAPSHOTS = "snapshots"
MODEL_CONFIG = "config.json"
MODEL_WEIGHTS = "model.safetensors"
MAGNITUDES = "magnitudes.csv"
HELDOUT = "heldout.csv"
HELDOUT_IMAGES = "heldout_images.csv"
SAMPLES = "samples"  # holds one folder per protocol

# A folder of samples, <run>/samples/<protocol>/
SAMPLE_ARRAYS = "samples.npz"
SAMPLE_GRID = "grid.png"
SAMPLE_RECORD = "protocol.json"

# A folder of latents, results/latents/<data>/
MANIFEST = "manifest.json"
MEAN, STD, LABELS = "mean.npy", "std.npy", "labels.npy"

KEPT_CHECKPOINTS = 2  # per run: the newest, and the one before in case it is damaged


def checkpoint_file(step: int) -> str:
    """Name of the checkpoint of a training step."""
    return f"step-{step:08d}.safetensors"


def list_checkpoints(folder: str | Path) -> list[tuple[int, Path]]:
    """(step, path) of every checkpoint in `folder` by its file's name, oldest first; none if the folder is missing."""
    paths = Path(folder).glob("step-*.safetensors")
    matches = ((re.fullmatch(r"step-(\d{8,})", path.stem), path) for path in paths)
    return sorted((int(match[1]), path) for match, path in matches if match)


def score_file(features: str, reference: str | None = None) -> str:
    """Name of a score beside its samples; `reference` names what they were compared with, where it is not the data."""
    return f"fid-{features}{f'-{reference}' if reference else ''}.csv"
