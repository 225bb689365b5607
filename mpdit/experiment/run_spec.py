"""A training run, fully resolved, and a protocol by which images are drawn from it."""

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..system.errors import UserError
from ..system.files import read_json
from .definitions import OwnSize
from .fields import NULL, Count, OneOf, Positive, Seed, Slug, Text
from .ladder import SHIPPED, Config, Ladder, Size, config_of
from .ladder_fields import MODEL
from .names import autoencoder_name, canonical, complete, digest, number, run_name
from .parse import validated
from .parts import KINDS, Identity, identities, require_recorded
from .schema import Data, Training
from .section import Section

RUN_AXES = ("model", "config", "modulation", "lr", "seed")
# Fields of `training` that move the best learning rate; the others say how a run is computed and stored.
TUNED_FOR = (
    "batch_size", "schedule", "warmup_steps", "decay_start", "betas", "label_dropout", "gradient_clip",
)  # fmt: skip

_AS_REGISTERED: Identity = {}


class _DataFile(Section):
    """`data` in a spec.json."""

    name: Slug
    resolution: Count
    autoencoder: Annotated[Text | None, NULL]
    flips: Annotated[str, OneOf(("none", "both"))]
    holdout: Annotated[int | None, NULL]


class _PartFile(Section):
    """A part under `parts` in a spec.json."""

    name: Text
    version: Count
    options: dict[str, Any] = Field(default_factory=dict)


class _SpecFile(Section):
    """A spec.json before its fields are resolved."""

    run: Text
    fields: dict[str, Any]
    model: Annotated[str, MODEL]
    config: Text
    modulation: Text
    lr: Positive
    seed: Seed
    data: _DataFile
    training: dict[str, Any]
    size: OwnSize | None = None
    parts: dict[Annotated[str, OneOf(KINDS)], _PartFile] = Field(default_factory=dict)


@dataclass(frozen=True)
class DataIdentity:
    """The part of `data` that says what the latents are: not where the files are, nor how they are packed."""

    name: str
    resolution: int
    autoencoder: str | None  # the last part of its path or hub id
    flips: str
    holdout: int | None = None  # images per class that are withheld from training

    @classmethod
    def of(cls, data: Data) -> "DataIdentity":
        withheld = data.holdout if isinstance(data.holdout, int) else None  # other pictures change no training
        return cls(data.name, data.resolution, autoencoder_name(data.autoencoder), data.flips, withheld)

    @property
    def folder_name(self) -> str:
        """Name of the folder of these latents."""
        return f"{self.name}-{digest(canonical('data', asdict(self)))}"


@dataclass(frozen=True)
class RunSpec:
    """One training run, fully resolved: everything that decides its weights, and `training.steps`."""

    model: str  # such as DiT-S/2
    config: str  # a configuration of the ladder, such as E
    modulation: str
    lr: float  # peak learning rate
    seed: int
    data: DataIdentity
    training: Training
    fields: Config  # the features that `config` stands for
    earlier_name: str | None = None  # the run's name where it is of version 0.1, which rounded rates in names
    own_size: Size | None = None  # of the model, where the study defines it; None: the shipped one of that name
    # Versions and options of the parts that are not the package's own, by kind; by default as they are registered now.
    parts: Identity = field(default_factory=lambda: _AS_REGISTERED, hash=False)

    def __post_init__(self) -> None:
        if self.parts is _AS_REGISTERED:
            object.__setattr__(self, "parts", identities(asdict(self.fields), self.modulation))

    @cached_property
    def name(self) -> str:
        if self.earlier_name is not None:
            return self.earlier_name
        data, training = asdict(self.data), self.training.to_json()
        return run_name(self.axes, asdict(self.fields), asdict(self.size), data, training, self.parts)

    @property
    def size(self) -> Size:
        """Blocks, width and heads of the model."""
        return self.own_size or SHIPPED.parse_model(self.model)[0]

    @property
    def patch(self) -> int:
        """Side of the model's patches."""
        return int(self.model.rpartition("/")[2])

    @property
    def axes(self) -> dict[str, Any]:
        return {axis: getattr(self, axis) for axis in RUN_AXES}

    def key(self) -> dict[str, Any]:
        """The run as the first columns of the aggregated tables have it."""
        return {"run": self.name, **self.axes, "data": self.data.name}

    def to_json(self) -> dict[str, Any]:
        """What spec.json holds."""
        return {
            "run": self.name,
            "fields": canonical("fields", asdict(self.fields)),
            **self.axes,
            "data": canonical("data", asdict(self.data)),
            "training": canonical("training", self.training.to_json()),
            **({} if self.own_size is None else {"size": asdict(self.own_size)}),
            **({"parts": self.parts} if self.parts else {}),
        }

    @property
    def tuning_identity(self) -> str:
        """Hash of what a learning rate is tuned for, but its horizon: all that decides a run but rate, seed, steps."""
        return digest(
            {
                "model": self.model,
                "modulation": self.modulation,
                "fields": canonical("fields", asdict(self.fields)),
                "data": canonical("data", asdict(self.data)),
                "training": {key: value for key, value in self.training.to_json().items() if key in TUNED_FOR},
                **({} if self.own_size is None else {"size": asdict(self.own_size)}),
                **({"parts": self.parts} if self.parts else {}),
            }
        )

    @classmethod
    def read(cls, path: str | Path) -> "RunSpec":
        """The run of a spec.json. Raises UserError that names file and field for anything that is not right."""
        return cls.from_json(read_json(path), str(path))

    @classmethod
    def from_json(cls, values: object, source: str) -> "RunSpec":
        """The run of what a spec.json holds; `source` names the file in messages. Raises UserError as `read` does.

        Every field must be there: a default would be another run than the one that was trained.
        """
        try:
            spec = validated(_SpecFile, _completed(values), "spec.json", ladder=_ladder(values))
            missing = sorted(Training.model_fields.keys() - spec.training.keys())
            if missing:
                raise UserError(f"training.{missing[0]}: missing; expected a spec.json that the workflow wrote")
            training = validated(Training, spec.training, "training", prefix=("training",))
            config = config_of(spec.fields)
            parts = {kind: part.model_dump(exclude_defaults=True) for kind, part in spec.parts.items()}
            require_recorded(parts, spec.fields, spec.modulation)
            run = cls(
                spec.model,
                spec.config,
                spec.modulation,
                spec.lr,
                spec.seed,
                DataIdentity(**spec.data.model_dump()),
                training,
                config,
                own_size=None if spec.size is None else Size(**spec.size.to_json()),
                parts=parts,
            )
        except UserError as error:
            raise UserError(f"{source}: {str(error).splitlines()[0]}") from None
        if spec.run == replace(run, lr=float(f"{run.lr:g}")).name:
            run = replace(run, earlier_name=spec.run) if spec.run != run.name else run
        if spec.run != run.name:
            raise UserError(f"{source}: run: expected {run.name}, the name of its fields, got {spec.run!r}")
        return run


def _ladder(values: object) -> Ladder:
    """The shipped ladder, with the size of the run's model where its study has defined it."""
    if not isinstance(values, dict) or "size" not in values:
        return SHIPPED
    name = str(values.get("model")).removeprefix("DiT-").partition("/")[0]
    return Ladder(SHIPPED.rungs, {**SHIPPED.sizes, name: Size(0, 0, 0)})


def _completed(values: object) -> object:
    """A spec.json in canonical form -> with the fields that were added after version 0.1 filled in."""
    if not isinstance(values, dict):
        return values
    sections = {
        section: complete(section, values[section])
        for section in ("fields", "data", "training")
        if isinstance(values.get(section), dict)
    }
    return {**values, **sections}


@dataclass(frozen=True)
class Protocol:
    """How images are drawn from a run. Scores of different protocols never share a row."""

    sampler: str
    sampling_steps: int
    guidance: float
    count: int
    ema_width: float | None  # None: the plain weights
    step: int  # of training, one with a snapshot
    sampling_seed: int

    @property
    def name(self) -> str:
        weights = "plain" if self.ema_width is None else f"ema{number(self.ema_width)}"
        drawing = f"{self.sampler}{self.sampling_steps}-guidance{number(self.guidance)}-n{self.count}"
        return f"{drawing}-{weights}-step{self.step}-seed{self.sampling_seed}"

    def options(self) -> dict[str, Any]:
        """The options of `mpdit sample`."""
        return {
            "sampler": self.sampler,
            "steps": self.sampling_steps,
            "guidance": self.guidance,
            "count": self.count,
            "ema_width": "none" if self.ema_width is None else self.ema_width,
            "step": self.step,
            "seed": self.sampling_seed,
        }
