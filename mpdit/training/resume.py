"""What a checkpoint says about itself, and whether a run may resume from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..experiment.run_spec import RunSpec
from ..system.errors import UserError
from ..system.safetensors_seal import read_metadata


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint stores beside its tensors."""

    step: int
    logged: int  # step of the last row of training.csv that this checkpoint includes
    seconds: float  # of training so far, without what was lost in kills
    spec: Mapping[str, Any]  # JSON of what defines the run, see `identity`
    latents: str  # fingerprint of the latents
    table: str | None = None  # training.csv so far; not kept in version 0.1
    snapshots: tuple[int, ...] | None = None  # steps at which EMAs were stored so far; not kept in version 0.1

    @classmethod
    def read(cls, path: str | Path) -> "CheckpointMetadata":
        stored = read_metadata(path)
        return cls(
            int(stored["step"]),
            int(stored["logged"]),
            float(stored["seconds"]),
            json.loads(stored["spec"]),
            stored["latents"],
            stored.get("table"),
            tuple(json.loads(stored["snapshots"])) if "snapshots" in stored else None,
        )

    def to_safetensors(self) -> dict[str, str]:
        """Return the metadata as safetensors stores it: text by name."""
        return {
            "step": str(self.step),
            "logged": str(self.logged),
            "seconds": repr(self.seconds),
            "spec": json.dumps(self.spec, sort_keys=True),
            "latents": self.latents,
            **({} if self.table is None else {"table": self.table}),
            **({} if self.snapshots is None else {"snapshots": json.dumps(self.snapshots)}),
        }


def identity(spec: RunSpec) -> dict[str, Any]:
    """Return the JSON of a spec without `training.steps`: what defines a run, however long it is trained."""
    values = spec.to_json()
    return {**values, "training": {key: value for key, value in values["training"].items() if key != "steps"}}


def require_same_run(path: Path, checkpoint: CheckpointMetadata, spec: RunSpec, latents: str) -> None:
    """Raise UserError unless the checkpoint at `path` is of the run `spec`, trained on the latents `latents`."""
    before, now = _flatten(checkpoint.spec), _flatten(identity(spec))
    for field in sorted(before.keys() | now.keys(), key=lambda field: (field == "run", field)):
        if before.get(field) != now.get(field):
            raise UserError(
                f"{path}: {field} is {before.get(field)!r} in this checkpoint, but {now.get(field)!r} in the spec: "
                f"both must be the same; train a changed run in a folder of its own"
            )
    if checkpoint.latents != latents:
        raise UserError(
            f"{path}: trained on latents {checkpoint.latents[:12]}, but resumed with latents {latents[:12]}: both must "
            f"be the same; train on changed latents in a folder of its own"
        )


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as a flat one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
