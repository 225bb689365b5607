"""Checks of a configuration across fields: each gives one line per problem, naming the field."""

from collections.abc import Mapping

from .schedule import snapshot_steps
from .schema import Data, Sampling, Training


def data_problems(data: Data) -> list[str]:
    """What is wrong across the fields of `data`."""
    if data.source == "mnist" and data.path is not None:
        return [f"data.path: expected null for the built-in source mnist, got {data.path!r}"]
    if data.source != "mnist" and data.path is None:
        return [f"data.path: missing; expected the {data.source} of images"]
    return []


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
