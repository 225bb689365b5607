"""The columns of every aggregated CSV: names, types, units and meanings, declared once.

`dtype` is one of pandas' names: `str`, `Int64`, `float64` or `boolean`. An empty cell is a missing value in every
column. A missing `ema_width` means plain weights (or the initialization); version 0.1 wrote `none` there, which is
still read. Torch-free and pandas-free: readers and writers of CSVs take what they need from here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

NO_EMA = "none"  # how version 0.1 wrote a missing EMA width; the command line still says `--ema-width none`


@dataclass(frozen=True)
class Column:
    """One column of a CSV."""

    name: str
    dtype: str  # str | Int64 | float64 | boolean
    meaning: str
    unit: str = ""
    before: str | float | None = None  # what every row holds in files of earlier versions, which lack the column


@dataclass(frozen=True)
class TableSchema:
    """One aggregated CSV."""

    name: str  # <name>.csv
    rows: str  # what a row is
    columns: tuple[Column, ...]
    key: tuple[str, ...]  # columns whose values together appear once
    finite: tuple[str, ...] = ()  # columns that must hold a finite number in every row that was measured

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def dtypes(self) -> dict[str, str]:
        return {column.name: column.dtype for column in self.columns}

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)


RUN = Column("run", "str", "name of the run, which is also its folder's")
AXES = (
    RUN,
    Column("model", "str", "model size, such as DiT-S/2"),
    Column("config", "str", "configuration of the ladder, such as E"),
    Column("modulation", "str", "kind of modulation"),
    Column("lr", "float64", "peak learning rate"),
    Column("seed", "Int64", "training seed"),
    Column("data", "str", "name of the data set"),
)
EMA_WIDTH = Column("ema_width", "float64", "relative width of the EMA; missing: plain weights")
DEVICE = (
    Column("device", "str", "cpu, or the GPU's name, with the number of GPUs in front where there are several"),
    Column("threads", "Int64", "CPU threads"),
)
COMMIT = Column("commit", "str", "git commit of the code")

RUNS = TableSchema(
    "runs",
    "one row per run",
    (
        *AXES,
        Column("paper_setting", "boolean", "data, recipe and learning rate are those of a published study"),
        Column("standard_lr", "boolean", "the rate is the one that learning_rates gives the configuration"),
        Column(
            "tuning",
            "str",
            "how the rate was chosen: tuned, edge (at an edge of the search), horizon (tuned for another "
            "number of steps), other (tuned for other data or another recipe) or given (a number of the configuration)",
            before="given",
        ),
        Column("tuning_rates", "Int64", "number of rates that tuning tried; missing: given", before=math.nan),
        Column("status", "str", "trained, running (begun and not ended), diverged or missing"),
        Column("step", "Int64", "last training step", "steps"),
        Column("steps", "Int64", "training steps that the configuration asks for", "steps"),
        Column("loss", "float64", "training loss, the last one logged"),
        Column("parameters", "Int64", "number of parameters"),
        Column("images_per_second", "float64", "training speed", "images/s"),
        Column("seconds", "float64", "training time over all processes", "s"),
        Column("peak_memory_mb", "float64", "largest memory of the training process", "MB"),
        Column("latents", "str", "fingerprint of the latents that it was trained on"),
        *DEVICE,
        COMMIT,
    ),
    key=("run",),
)

FID = TableSchema(
    "fid",
    "one row per run, protocol and kind of features",
    (
        *AXES,
        Column("protocol", "str", "name of the protocol, which is also the folder's of its samples"),
        Column("sampler", "str", "ddpm, ddim or dpm_solver"),
        Column("steps", "Int64", "sampling steps", "steps"),
        Column("guidance", "float64", "guidance scale; 1: none"),
        Column("count", "Int64", "number of samples", "images"),
        EMA_WIDTH,
        Column("step", "Int64", "training step of the weights", "steps"),
        Column("sampling_seed", "Int64", "seed of the noise"),
        Column("features", "str", "kind of features"),
        Column("features_hash", "str", "hash of the features' weights and preprocessing"),
        Column("reference", "str", "what the samples are compared with"),
        Column("reference_count", "Int64", "number of real images; missing for precomputed statistics", "images"),
        Column("reference_hash", "str", "hash of the reference's images or statistics"),
        Column("fid", "float64", "Fréchet distance: FID on Inception's features, FD on others"),
        Column("kid", "float64", "kernel distance, the unbiased squared MMD; missing for precomputed statistics"),
        Column("kid_sd", "float64", "its standard error over samples (jackknife); missing where subsets were used"),
        Column("fid_rank_deficient", "boolean", "fewer samples than features, so that fid is biased high"),
        Column("fid_floor", "float64", "fid of held-back real images against the others"),
        Column("kid_floor", "float64", "kid of held-back real images against the others"),
        Column("floor_count", "Int64", "number of held-back real images", "images"),
        COMMIT,
    ),
    key=("run", "protocol", "features"),
    finite=("fid", "kid"),
)

TRAINING = TableSchema(
    "training",
    "one row per run and logged step; means since the row before",
    (
        RUN,
        Column("step", "Int64", "training step", "steps"),
        Column("loss", "float64", "hybrid loss: simple plus variational"),
        Column("simple", "float64", "mean squared error of the predicted noise"),
        Column("variational", "float64", "variational term of the learned variance", "bits per dimension"),
        Column("loss_q1", "float64", "loss over the first quarter of the timesteps, the least noisy"),
        Column("loss_q2", "float64", "loss over the second quarter"),
        Column("loss_q3", "float64", "loss over the third quarter"),
        Column("loss_q4", "float64", "loss over the last quarter, the noisiest"),
        Column("grad_norm", "float64", "global norm of the gradient, in the scale of the textbook form"),
        Column("lr", "float64", "learning rate at this step"),
        Column("weight_norm", "float64", "Euclidean norm of all weights"),
        Column("images_per_second", "float64", "training speed", "images/s"),
        Column("seconds", "float64", "training time so far", "s"),
        Column("memory_mb", "float64", "largest memory so far", "MB"),
        Column("status", "str", "training, trained (last row) or diverged (last row)"),
    ),
    key=("run", "step"),
    finite=("loss",),
)

MAGNITUDES = TableSchema(
    "magnitudes",
    "one row per run, snapshot and site",
    (
        RUN,
        Column("step", "Int64", "training step of the snapshot; 0: initialization", "steps"),
        EMA_WIDTH,
        Column(
            "kind", "str", "activation (at a noise level), correlated (activations on made-up latents), weight or gain"
        ),
        Column("block", "Int64", "-1: before the blocks; one more than the last: the final layer"),
        Column("site", "str", "where in the block"),
        Column("timestep", "Int64", "noise level"),
        Column("correlation", "float64", "of neighboring values of the made-up latents"),
        Column("magnitude", "float64", "expected magnitude M, root mean square; signed for gains"),
    ),
    key=("run", "step", "ema_width", "kind", "block", "site", "timestep", "correlation"),
    finite=("magnitude",),
)

ANGLES = TableSchema(
    "angles",
    "one row per run, snapshot, block, head and noise level, for modulations that rotate",
    (
        RUN,
        Column("step", "Int64", "training step of the snapshot; 0: initialization", "steps"),
        EMA_WIDTH,
        Column("block", "Int64", "block"),
        Column("site", "str", "head that predicts the angles"),
        Column("timestep", "Int64", "noise level"),
        Column("radians", "float64", "root mean square of the angles", "radians"),
    ),
    key=("run", "step", "ema_width", "block", "site", "timestep"),
    finite=("radians",),
)

COST = TableSchema(
    "cost",
    "one row per configuration, modulation and form, measured side by side",
    (
        Column("model", "str", "model size"),
        Column("config", "str", "configuration of the ladder"),
        Column("modulation", "str", "kind of modulation"),
        Column("form", "str", "cheap (in which runs are trained) or textbook (EDM2's)"),
        Column("parameters", "Int64", "number of parameters"),
        Column("flops", "Int64", "floating-point operations of the forward pass of one image", "FLOP"),
        Column("step_seconds", "float64", "time of a training step, median", "s"),
        Column("relative", "float64", "time against Config A with scale_shift, median of the ratios within rounds"),
        Column("relative_low", "float64", "lower end of its 95 % interval"),
        Column("relative_high", "float64", "upper end of its 95 % interval"),
        Column("rounds", "Int64", "number of rounds"),
        *DEVICE,
    ),
    key=("model", "config", "modulation", "form"),
    finite=("relative",),
)

HELDOUT_PARTS = ("tune", "report", "train")  # of the images: chooses rates and widths, decides claims, was trained on

HELDOUT = TableSchema(
    "heldout",
    "one row per run, snapshot, EMA width and part of the held-out images",
    (
        RUN,
        Column("step", "Int64", "training step of the weights", "steps"),
        EMA_WIDTH,
        Column("part", "str", "tune (chooses rates and widths), report (decides claims) or train (images trained on)"),
        Column("images", "Int64", "number of images", "images"),
        Column("draws", "Int64", "pairs of timestep and noise per image"),
        Column("loss", "float64", "mean squared error of the predicted noise, over images and stratified timesteps"),
        Column("loss_q1", "float64", "the same over the first quarter of the timesteps, the least noisy"),
        Column("loss_q2", "float64", "the same over the second quarter"),
        Column("loss_q3", "float64", "the same over the third quarter"),
        Column("loss_q4", "float64", "the same over the last quarter, the noisiest"),
        Column("variational", "float64", "variational term, never part of loss", "bits per dimension"),
        Column("heldout", "str", "fingerprint of the held-out latents"),
    ),
    key=("run", "step", "ema_width", "part"),
    finite=("loss",),
)

HELDOUT_IMAGES = TableSchema(
    "heldout_images",
    "one row per run, EMA width and held-out image of the reporting part, at the last step",
    (
        RUN,
        EMA_WIDTH,
        Column("image", "Int64", "index of the image in the held-out latents"),
        Column("loss", "float64", "mean squared error of the predicted noise, mean over the image's draws"),
    ),
    key=("run", "ema_width", "image"),
    finite=("loss",),
)

RATES = TableSchema(
    "rates",
    "one row per model, configuration, modulation, learning rate and EMA width that tuning tried",
    (
        *(column for column in AXES if column.name not in ("run", "seed")),
        Column("identity", "str", "hash of what the rate was tuned for"),
        Column("steps", "Int64", "horizon of the tuning", "steps"),
        EMA_WIDTH,
        Column("loss", "float64", "held-out loss of the tuning part, mean over tuning seeds; missing: diverged"),
        Column("seeds", "Int64", "number of tuning seeds"),
        Column("diverged", "Int64", "number of them that diverged"),
        Column("chosen", "boolean", "the rate and EMA width that the study uses"),
        Column("at_edge", "boolean", "the best rate is the lowest or the highest that was tried: not tuned"),
    ),
    key=("model", "config", "modulation", "data", "identity", "lr", "ema_width"),
)

SCHEMAS = {
    schema.name: schema for schema in (RUNS, FID, HELDOUT, HELDOUT_IMAGES, TRAINING, MAGNITUDES, ANGLES, COST, RATES)
}
AGGREGATES = ("runs", "fid", "training", "magnitudes", "angles")  # made from run folders; cost is measured
HELDOUT_AGGREGATES = ("heldout", "heldout_images")  # likewise, of studies with held-out pictures
