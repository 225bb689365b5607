"""Checks of a configuration across fields: each gives one line per problem, naming the field."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .autoencoder_config import known_downsampling
from .ema_profiles import LARGEST_RESIDUAL, reconstruction_residual
from .features import FEATURES
from .fields import LONGEST_NAME
from .ladder import Ladder
from .schedule import snapshot_steps
from .schema import Data, Sampling, Scoring, Training

if TYPE_CHECKING:
    from .run_spec import RunSpec

STATISTICS = (".npz", ".pt", ".pth")  # suffixes of a `scoring.reference` of precomputed statistics; others are images


def data_problems(data: Data) -> list[str]:
    """What is wrong across the fields of `data`."""
    if data.source == "mnist" and data.path is not None:
        return [f"data.path: expected null for the built-in source mnist, got {data.path!r}"]
    if data.source != "mnist" and data.path is None:
        return [f"data.path: missing; expected the {data.source} of images"]
    return []


def patch_problems(data: Data, models: Mapping[str, Sequence[str]], ladder: Ladder) -> list[str]:
    """Resolutions that the autoencoder or a model's patch does not divide; `models` are those of each block.

    What an autoencoder divides the resolution by is known where its config.json is at hand.
    """
    factor, of_autoencoder = 1, ""
    if data.autoencoder is not None:
        known = known_downsampling(data.autoencoder)
        if known is None:
            return []
        factor, of_autoencoder = known, f", times the {known} pixels per latent of {data.autoencoder}"
    if data.resolution % factor:
        return [
            f"data.resolution: expected a multiple of {factor}, the pixels per latent of {data.autoencoder}, "
            f"got {data.resolution}"
        ]
    problems: dict[str, str] = {}
    for block, model in ((block, model) for block, names in models.items() for model in names):
        multiple = factor * ladder.parse_model(model)[1]
        if data.resolution % multiple:
            problems.setdefault(
                model,
                f"data.resolution: expected a multiple of {multiple}, the patch of {model} in experiments.{block}"
                f"{of_autoencoder}, got {data.resolution}",
            )
    return list(problems.values())


def scoring_problems(scoring: Scoring) -> list[str]:
    """Weights for features that have their own, and references whose name cannot be used."""
    problems = []
    if scoring.weights is not None and FEATURES[scoring.features].network != "inception":
        problems.append(
            f"scoring.weights: expected null for {scoring.features}, whose weights are built in, "
            f"got {scoring.weights!r}; only inception takes a file"
        )
    name = Path(scoring.reference or "").name
    if len(name.encode()) > LONGEST_NAME:
        problems.append(
            f"scoring.reference: expected a file name of at most {LONGEST_NAME} bytes, got {len(name.encode())}: "
            f"{name[:40]}..."
        )
    if Path(name).suffix in STATISTICS and not {"{", "}"}.isdisjoint(scoring.reference or ""):
        problems.append(f"scoring.reference: expected a path without braces, got {scoring.reference!r}")
    return problems


def step_problems(prefix: Mapping[str, str], training: Training, sampling: Sampling) -> list[str]:
    """Snapshots that do not fit in the steps, and sampled steps without a snapshot."""
    steps, count = training.steps, training.snapshots
    if count > steps:
        return [f"{prefix['training']}.snapshots: expected at most training.steps, which is {steps}, got {count}"]
    problems = []
    for step in sampling.step:
        if step is None or step in snapshot_steps(steps, count):
            continue
        if step > steps:
            problems.append(f"{prefix['sampling']}.step: expected at most training.steps, which is {steps}, got {step}")
            continue
        nearest = sorted(sorted(snapshot_steps(steps, count), key=lambda other: abs(other - step))[:2])
        problems.append(
            f"{prefix['sampling']}.step: expected a step with a snapshot, such as {' or '.join(map(str, nearest))}, "
            f"got {step}; training.snapshots is {count} in {steps} steps"
        )
    return problems


def width_problems(
    field: str, training: Training, widths: Iterable[float | None], steps: Iterable[int | None] = (None,)
) -> list[str]:
    """EMA widths that the snapshots of a run cannot give at one of these steps (None: the last) with a small error."""
    problems = []
    for step in dict.fromkeys(step or training.steps for step in steps):
        taken = tuple(taken for taken in snapshot_steps(training.steps, training.snapshots) if taken <= step)
        if not taken or taken[-1] != step:
            continue  # a problem of the step
        tracked = " and ".join(f"{width:g}" for width in training.ema_widths)
        for width in dict.fromkeys(width for width in widths if width is not None):
            residual = reconstruction_residual(training.ema_widths, taken, width)
            if residual > LARGEST_RESIDUAL:
                problems.append(
                    f"{field}: expected a width that the snapshots up to step {step} ({len(taken)} each of {tracked}) "
                    f"give within {LARGEST_RESIDUAL:.0%}, got {width:g} (error {residual:.1%}); choose one nearer to a "
                    f"tracked width, or raise training.snapshots"
                )
    return problems


def shared_run_problems(blocks: Iterable[tuple[str, Iterable["RunSpec"]]]) -> list[str]:
    """Runs that two blocks, each given by name and runs, train for different numbers of steps.

    `steps` is no part of a run's name: both would be the same run.
    """
    first: dict[str, tuple[str, int]] = {}
    problems: dict[tuple[str, str], str] = {}
    for block, run in ((name, run) for name, runs in blocks for run in runs):
        steps = run.training.steps
        other, other_steps = first.setdefault(run.name, (block, steps))
        if steps != other_steps:
            problems.setdefault(
                (block, other),
                f"experiments.{block}.training.steps: expected {other_steps}, as in experiments.{other}, got {steps}; "
                f"both train {run.name}, which has one number of steps: sample it on its way with sampling.step",
            )
    return list(problems.values())
