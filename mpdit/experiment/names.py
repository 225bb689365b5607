"""Where runs, protocols and data sets get their names: axes in plain text, and a hash of everything else.

Names, `spec.json` and checkpoints hold a canonical form. A field that was added after version 0.1 appears in it only
where it differs from the value that reproduces the earlier behavior, so that adding a field renames nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# section: {field added after version 0.1: the value that reproduces the behavior before}
ADDED_FIELDS: dict[str, dict[str, Any]] = {
    "data": {"holdout": None}, "fields": {"block": "dit"}, "training": {},
}  # fmt: skip


def digest(value: Any) -> str:
    """Eight hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def canonical(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section without those later fields that reproduce the earlier behavior."""
    added = ADDED_FIELDS[section]
    return {key: value for key, value in values.items() if key not in added or value != added[key]}


def complete(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `canonical`: the values of a section with the later fields filled in."""
    return {**ADDED_FIELDS[section], **values}


def autoencoder_name(autoencoder: str | None) -> str | None:
    """What of an autoencoder's folder or hub id enters names: its last part, wherever it is stored."""
    return autoencoder and Path(autoencoder).name


def number(value: float) -> str:
    """A number as it appears in names: at six digits where that is the number itself, else at all of its digits."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def run_name(
    axes: Mapping[str, Any], fields: Mapping[str, Any], size: Mapping[str, int], data: Mapping[str, Any],
    training: Mapping[str, Any], parts: Mapping[str, Any],
) -> str:  # fmt: skip
    """The name of a training run: its axes, and a hash of its configuration's fields, its size, data and training, and
    of versions and options of its parts (`parts.identities`).

    `steps` is no part of a run's identity: raising it continues the run.
    """
    rest = {
        "fields": canonical("fields", fields),
        "size": dict(size),
        "data": canonical("data", data),
        "training": canonical("training", {key: value for key, value in training.items() if key != "steps"}),
        **({"parts": dict(parts)} if parts else {}),
    }
    model, lr, seed = axes["model"].replace("/", "-"), f"lr{number(axes['lr'])}", f"seed{axes['seed']}"
    return "-".join((model, axes["config"], axes["modulation"], lr, seed, digest(rest)))
