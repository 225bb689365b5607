"""The JSON files that stages leave for one another, each as a frozen dataclass made at the file boundary.

`read(path)` and `from_json(values, source)` raise UserError, one line that names the file and the field, for a file
that is missing, is not JSON, lacks a field or holds a value of the wrong type. `to_json` gives what is written, with
keys in the file's order; a field added after version 0.1 is written only where it says something new.
"""

import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..system.errors import UserError
from ..system.files import read_json
from .remedies import remedy

TYPE_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping",
              list: "a list", tuple: "a list", NoneType: "null"}  # fmt: skip
Record = TypeVar("Record", bound="JsonRecord")


class JsonRecord:
    """A frozen dataclass that is read from a JSON object, with the types of its fields checked."""

    written_by = "mpdit"  # the command that writes the file, for messages

    @classmethod
    def read(cls: type[Record], path: str | Path) -> Record:
        return cls.from_json(read_json(path, remedy(path)), str(path))

    @classmethod
    def from_json(cls: type[Record], values: object, source: str) -> Record:
        if not isinstance(values, dict):
            raise UserError(f"{source}: expected a mapping that `{cls.written_by}` wrote")
        hints = get_type_hints(cls)
        arguments = {}
        for item in fields(cls):  # type: ignore[arg-type]  # every record is a dataclass
            if item.name in values:
                arguments[item.name] = _checked(values[item.name], hints[item.name], f"{source}: {item.name}")
            elif item.default is MISSING and item.default_factory is MISSING:
                raise UserError(f"{source}: missing field {item.name!r}; expected a file that `{cls.written_by}` wrote")
        return cls(**arguments)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # every record is a dataclass


def _checked(value: object, kind: Any, where: str) -> Any:
    """A JSON value as a value of the annotated type: lists become tuples, integers floats."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return _checked(value, next(option for option in arguments if option is not NoneType), where)
    if isinstance(kind, type) and issubclass(kind, JsonRecord):
        return kind.from_json(value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_checked(item, arguments[0], f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        shown = {key: key if key.isidentifier() else repr(key) for key in value}  # a message has one line
        return {key: _checked(item, arguments[1], f"{where}.{shown[key]}") for key, item in value.items()}
    if kind is Any or (kind is bool and isinstance(value, bool)):
        return value
    if not isinstance(value, bool):
        if kind is float and isinstance(value, int | float):
            return value
        if kind in (str, int) and isinstance(value, kind):
            return value
    raise UserError(f"{where}: expected {TYPE_NAMES.get(origin or kind, 'another type')}, got {str(value)[:60]!r}")


# ---------------------------------------------------------------------------------------------------------------------
# results/latents/<data>/manifest.json


@dataclass(frozen=True)
class SourceRecord(JsonRecord):
    """Where the pictures came from."""

    kind: str  # mnist | folder | zip | tar | parquet
    path: str | None  # the last part of it
    fingerprint: str  # sha256 over the pictures' identities
    class_order: str
    listing: str | None = None  # fingerprint of the listing; None: latents of a version that recorded none


@dataclass(frozen=True)
class AutoencoderRecord(JsonRecord):
    """The autoencoder behind latents. Its JSON has `class` where Python cannot have that name."""

    id: str  # local folder or hub id
    class_name: str
    hash: str  # sha256 over its tensors
    scaling_factor: float
    shift_factor: float

    @classmethod
    def from_json(cls, values: object, source: str) -> "AutoencoderRecord":
        if isinstance(values, dict) and "class" in values:
            values = {"class_name" if key == "class" else key: value for key, value in values.items()}
        return super().from_json(values, source)

    def to_json(self) -> dict[str, Any]:
        return {"class" if key == "class_name" else key: value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Manifest(JsonRecord):
    """What a folder of latents says of itself; training, sampling and decoding read scale and statistics from here."""

    written_by = "mpdit encode"

    version: int
    name: str
    source: SourceRecord
    count: int  # rows of the arrays
    skipped: tuple[str, ...]  # names of broken pictures
    shape: tuple[int, ...]  # of a row, (C, H, W)
    classes: tuple[str, ...]
    resolution: int  # pixels
    filter: str
    crop: str
    flips: str
    autoencoder: AutoencoderRecord | None  # None: pixels
    posterior: bool  # whether std.npy is there
    dtype: str
    channel_mean: tuple[float, ...]  # of the mixture of posteriors, (C,)
    channel_std: tuple[float, ...]
    fingerprint: str  # hash of what the latents are
    seals: dict[str, str] = field(default_factory=dict, compare=False)  # of the arrays, by file; none in version 0.1

    @classmethod
    def from_json(cls, values: object, source: str) -> "Manifest":
        manifest = super().from_json(values, source)
        for key, is_right, expected in (
            ("shape", len(manifest.shape) == 3 and min(manifest.shape) > 0, "(C, H, W), each at least 1"),
            ("count", manifest.count > 0, "at least 1"),
            ("classes", len(manifest.classes) > 0, "at least one"),
        ):
            if not is_right:
                raise UserError(f"{source}: {key} is {getattr(manifest, key)}, expected {expected}; encode again")
        return manifest

    def to_json(self) -> dict[str, Any]:
        values = {key: value for key, value in asdict(self).items() if key != "seals" or value}
        if self.source.listing is None:
            del values["source"]["listing"]
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {**lists, "autoencoder": self.autoencoder and self.autoencoder.to_json()}


# ---------------------------------------------------------------------------------------------------------------------
# results/runs/<run>/trained.json


@dataclass(frozen=True)
class TrainedRun(JsonRecord):
    """How the training of a run ended."""

    written_by = "mpdit train"

    run: str
    status: str  # trained | diverged
    step: int  # the last one, or the one that diverged
    steps: int  # that were asked for
    parameters: int
    images_per_second: float
    seconds: float  # of training, over all processes
    peak_memory_mb: float
    loss: float | None  # the last one logged; None where it is not finite
    latents: str  # their fingerprint
    device: str  # cpu, or the name of the GPU
    threads: int
    commit: str | None
    versions: dict[str, str | None] = field(default_factory=dict)
    devices: int = 1  # number of them; added after version 0.1, which wrote `4 x NAME` as the device
    study: str | None = None  # SHA-256 of the study's Python file, where there is one
    snapshots: tuple[int, ...] = ()  # steps at which EMAs were stored; not recorded in version 0.1

    @classmethod
    def from_json(cls, values: object, source: str) -> "TrainedRun":
        if isinstance(values, dict) and "devices" not in values:
            several = re.fullmatch(r"(\d+) x (.+)", str(values.get("device")))
            if several:
                values = {**values, "device": several[2], "devices": int(several[1])}
        trained = super().from_json(values, source)
        if trained.status not in ("trained", "diverged"):
            raise UserError(f"{source}: status: expected trained or diverged, got {trained.status!r}")
        return trained

    def to_json(self) -> dict[str, Any]:
        later: dict[str, Any] = {"devices": 1, "study": None, "snapshots": []}
        values = {**asdict(self), "snapshots": list(self.snapshots)}
        return {key: value for key, value in values.items() if key not in later or value != later[key]}

    @property
    def hardware(self) -> str:
        """The devices in words: `cpu`, `4 x NVIDIA H100`."""
        return self.device if self.devices == 1 else f"{self.devices} x {self.device}"


# ---------------------------------------------------------------------------------------------------------------------
# <run>/samples/<protocol>/protocol.json


@dataclass(frozen=True)
class SampleRecord(JsonRecord):
    """The run and everything that decides the images in samples.npz."""

    written_by = "mpdit sample"

    run: str
    model: str
    config: str
    modulation: str
    lr: float
    seed: int
    data: str
    sampler: str
    steps: int  # sampling steps
    guidance: float
    count: int
    ema_width: float | None
    step: int  # of training
    sampling_seed: int
    precision: str
    status: str
    commit: str | None
    ema_residual: float | None = None


# ---------------------------------------------------------------------------------------------------------------------
# plan.json


@dataclass(frozen=True)
class PlannedRun(JsonRecord):
    """A run as plan.json lists it for aggregation."""

    written_by = "the workflow"

    run: str
    model: str
    config: str
    modulation: str
    lr: float
    seed: int
    data: str
    steps: int
    paper_setting: bool  # published numbers are of runs in just this setting
    standard_lr: bool  # its rate is the one that `learning_rates` gives its configuration
    scores: tuple[str, ...]  # paths within the run folder
    tuning: str = "given"  # how its rate was chosen: `rates.how_tuned`
    tuning_rates: int | None = None  # number of rates that tuning tried

    def to_json(self) -> dict[str, Any]:
        values = {**asdict(self), "scores": list(self.scores)}
        if self.tuning_rates is None:
            del values["tuning_rates"]
        return {key: value for key, value in values.items() if (key, value) != ("tuning", "given")}
