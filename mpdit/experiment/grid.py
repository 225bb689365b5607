"""Configuration -> validated `Experiment` -> the set of `Run`s, and what is sampled from each.

The one source of truth of the grid. A block of `experiments:` is a product of axes; the union over blocks is the set of
runs. A run is named by its axes plus eight hex digits of a hash of the rest; the name is never parsed back.
Torch-free: Snakemake imports this module each time it parses the workflow, once a job.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..system.errors import UserError
from ..system.files import read_json
from .fields import Kind, boolean, choice, integer, list_of, optional, real, slug, text
from .ladder import LADDER, MODELS, MODULATIONS, parse_model, resolve
from .published import is_published
from .schedule import SCHEDULES, snapshot_steps

REQUIRED = object()

# section: {field: (kind, default)}. The defaults are the paper's recipe (paper, section 5; its authors' public code).
SECTIONS: dict[str, dict[str, tuple[Kind, Any]]] = {
    "data": {
        "name": (slug, REQUIRED),
        "source": (choice("mnist", "folder", "zip", "tar", "parquet"), REQUIRED),
        "path": (optional(text), None),
        "resolution": (integer(1), REQUIRED),
        "autoencoder": (optional(text), None),
        "flips": (choice("none", "both"), "none"),
        "broken": (choice("error", "skip"), "error"),
    },
    "training": {
        "steps": (integer(1), 400_000),
        "batch_size": (integer(1), 256),
        "schedule": (choice(*SCHEDULES), "inverse_sqrt"),
        "warmup_steps": (integer(0), 2_667),
        "decay_start": (integer(1), 40_000),
        "betas": (list_of(real(0, 1, below=True), length=2), (0.9, 0.99)),
        "label_dropout": (real(0, 1, below=True), 0.1),
        "gradient_clip": (optional(real(0, above=True)), None),
        "precision": (choice("float32", "bfloat16"), "bfloat16"),
        "ema_widths": (list_of(real(0.01, 0.28)), (0.05, 0.10)),
        "snapshots": (integer(1), 64),
        "snapshot_dtype": (choice("float16", "float32"), "float16"),
    },
    "sampling": {
        "sampler": (choice("ddpm", "ddim", "dpm_solver"), "ddpm"),
        "steps": (integer(1, 1000), 250),
        "guidance": (real(0), 1.0),
        "count": (integer(1), 10_000),
        "ema_width": (list_of(optional(real(0.01, 0.28))), (0.05,)),
        "step": (list_of(optional(integer(1))), (None,)),
        "seeds": (list_of(integer(0)), (0,)),
    },
    "scoring": {
        "features": (choice("efficientnet-lite0", "inception"), "inception"),
        "weights": (optional(text), None),
        "reference": (optional(text), None),
    },
    "tracing": {
        "images": (integer(1), 256),
        "timesteps": (list_of(integer(0, 999)), (50, 250, 500, 750, 950)),
        "snapshots": (integer(1), 16),
    },
    "execution": {
        "device": (choice("auto", "cpu", "cuda"), "auto"),
        "devices": (integer(1), 1),
        "threads": (integer(1), 1),
        "compile": (optional(boolean), None),
        "log_every": (integer(1), 100),
        "checkpoint_every": (optional(integer(1)), None),
        "sampling_batch": (integer(1), 256),
        "shards": (integer(1), 1),
        "encode_workers": (integer(0), 0),
    },
}
AXES: dict[str, Kind] = {
    "model": list_of(choice(*MODELS)),
    "config": list_of(choice(*LADDER)),
    "modulation": list_of(choice(*MODULATIONS)),
    "lr": list_of(real(0, above=True)),
    "seed": list_of(integer(0)),
}
# A block may override these sections, key by key.
OVERRIDES = ("training", "sampling")
STATISTICS = (".npz", ".pt", ".pth")  # how a `scoring.reference` of precomputed statistics ends; others are images


def _checked(where: str, kind: Kind, value):
    try:
        return kind(value)
    except ValueError as error:
        raise UserError(f"{where}: found {value!r}, must be {error}") from None


def _mapping(where: str, value, allowed) -> dict:
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: found {value!r}, must be a mapping with keys from {', '.join(allowed)}")
    for key in value:
        if key not in allowed:
            raise UserError(f"{where}: unknown key {key!r}, must be one of {', '.join(allowed)}")
    return dict(value)


def _section(name: str, given, where: str | None = None) -> dict:
    """A section with every field checked and the absent ones at their defaults."""
    schema, where = SECTIONS[name], where or name
    given = _mapping(where, {} if given is None else given, schema)
    section = {}
    for field, (kind, default) in schema.items():
        if field in given:
            section[field] = _checked(f"{where}.{field}", kind, given[field])
        elif default is REQUIRED:
            raise UserError(f"{where}.{field}: missing, must be given")
        else:
            section[field] = list(default) if isinstance(default, tuple) else default
    return section


def check_data(data) -> dict:
    """The `data` mapping with every field checked and the absent ones at their defaults."""
    data = _section("data", data)
    if data["source"] == "mnist" and data["path"] is not None:
        raise UserError("data.path: given for the built-in source mnist, must be left out")
    if data["source"] != "mnist" and data["path"] is None:
        raise UserError(f"data.path: missing, must name the {data['source']} of images")
    return data


def read_data(text: str) -> dict:
    """The `data` mapping of a command line: a JSON file, or the JSON itself; checked."""
    if not text.lstrip().startswith("{"):
        return check_data(read_json(text))
    try:
        return check_data(json.loads(text))
    except json.JSONDecodeError as error:
        raise UserError(f"DATA_JSON: not valid JSON ({error}): must be a file or a JSON mapping") from None


def read_experiment(text: str) -> "Experiment":
    """The study of a command line: a configuration's YAML file, or its JSON itself; checked."""
    import yaml

    is_file = not text.lstrip().startswith("{")
    try:
        return Experiment(yaml.safe_load(Path(text).read_text() if is_file else text))
    except FileNotFoundError:
        raise UserError(f"{text}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{text if is_file else 'CONFIGURATION'}: not YAML ({' '.join(str(error).split())})") from None
    except UserError as error:
        raise UserError(f"{text}: {error}" if is_file else str(error)) from None


# ---------------------------------------------------------------------------------------------------------------------
# Runs and protocols


def digest(value) -> str:
    """Eight hex digits of a JSON value's SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def data_identity(data: Mapping) -> dict:
    """The part of `data` that says what the latents are: not where the files lie, nor how they are packed."""
    autoencoder = data["autoencoder"] and Path(data["autoencoder"]).name
    return {
        "name": data["name"],
        "resolution": data["resolution"],
        "autoencoder": autoencoder,
        "flips": data["flips"],
    }


def data_name(data: Mapping) -> str:
    """Folder name of the latents of `data`."""
    return f"{data['name']}-{digest(data_identity(data))}"


@dataclass(frozen=True)
class Run:
    """One training run, fully resolved."""

    model: str  # such as DiT-S/2
    config: str  # a letter of the ladder
    modulation: str
    lr: float
    seed: int
    data: dict  # data_identity
    training: dict  # every field of the section

    @cached_property
    def name(self) -> str:
        """The axes and a hash of the rest: the letter's fields, the size, the data, the training but its `steps`."""
        size, _ = parse_model(self.model)
        training = {key: value for key, value in self.training.items() if key != "steps"}
        rest = {"fields": asdict(resolve(self.config)), "size": asdict(size), "data": self.data, "training": training}
        axes = (self.model.replace("/", "-"), self.config, self.modulation, f"lr{self.lr:g}", f"seed{self.seed}")
        return "-".join((*axes, digest(rest)))

    def spec(self) -> dict:
        """What `spec.json` holds: all that decides the run's weights, and `steps`."""
        return {"run": self.name, "fields": asdict(resolve(self.config)), **asdict(self)}

    def key(self) -> dict:
        """The axes as columns of the aggregated tables."""
        return {
            "run": self.name,
            "model": self.model,
            "config": self.config,
            "modulation": self.modulation,
            "lr": self.lr,
            "seed": self.seed,
            "data": self.data["name"],
        }


@dataclass(frozen=True)
class Protocol:
    """How images are drawn from a run. FIDs of different protocols never share a row."""

    sampler: str
    steps: int
    guidance: float
    count: int
    ema_width: float | None  # None: the plain weights
    step: int  # of the snapshot
    seed: int

    @property
    def name(self) -> str:
        width = "plain" if self.ema_width is None else f"ema{self.ema_width:g}"
        drawn = f"{self.sampler}{self.steps}-guidance{self.guidance:g}-n{self.count}"
        return f"{drawn}-{width}-step{self.step}-seed{self.seed}"

    def options(self) -> dict:
        """The options of `mpdit sample`."""
        return {**asdict(self), "ema_width": "none" if self.ema_width is None else self.ema_width}


@dataclass(frozen=True)
class Block:
    """One entry of `experiments:`: its runs, and the protocols each is sampled under."""

    name: str
    runs: tuple[Run, ...]
    protocols: tuple[Protocol, ...]


class Experiment:
    """A validated configuration. Raises UserError, one line naming the field, for anything that is not right."""

    def __init__(self, config: Mapping):
        config = _mapping("configuration", config, (*SECTIONS, "learning_rates", "experiments"))
        sections = {name: _section(name, config.get(name)) for name in SECTIONS}
        self.data = check_data(sections["data"])
        self.training, self.sampling = sections["training"], sections["sampling"]
        self.scoring, self.tracing, self.execution = (sections[name] for name in ("scoring", "tracing", "execution"))
        rates = _mapping("learning_rates", config.get("learning_rates") or {}, tuple(LADDER))
        self.learning_rates = {
            letter: _checked(f"learning_rates.{letter}", real(0, above=True), rate) for letter, rate in rates.items()
        }
        experiments = config.get("experiments")
        if not isinstance(experiments, Mapping) or not experiments:
            raise UserError("experiments: missing or empty, must name at least one block such as table1")
        for name in experiments:
            _checked("experiments", slug, name)
        # The configuration itself: checked, and with every default.
        self.configuration = {**sections, "data": self.data, "learning_rates": self.learning_rates, "experiments": {}}
        self.blocks = {name: self._block(name, block) for name, block in experiments.items()}
        self.runs = {run.name: run for block in self.blocks.values() for run in block.runs}
        self.protocols = {protocol.name: protocol for block in self.blocks.values() for protocol in block.protocols}

    def _block(self, name: str, given) -> Block:
        where = f"experiments.{name}"
        given = _mapping(where, given, (*AXES, *OVERRIDES))
        sections, own = {}, {}
        for section in OVERRIDES:
            override = _mapping(f"{where}.{section}", given.pop(section, None) or {}, SECTIONS[section])
            sections[section] = _section(section, {**getattr(self, section), **override}, f"{where}.{section}")
            own |= {section: {key: sections[section][key] for key in override}} if override else {}
        training, sampling = sections["training"], sections["sampling"]
        self._check_steps({name: f"{where}.{name}" if name in own else name for name in OVERRIDES}, training, sampling)
        for axis in AXES:
            if axis not in given and axis != "lr":
                raise UserError(f"{where}.{axis}: missing, must be a list")
        axes = {axis: _checked(f"{where}.{axis}", kind, given[axis]) for axis, kind in AXES.items() if axis in given}
        self.configuration["experiments"][name] = {**axes, **own}
        runs = []
        identity = data_identity(self.data)
        for model, config, modulation, seed in itertools.product(
            *(axes[a] for a in ("model", "config", "modulation", "seed"))
        ):
            for lr in axes.get("lr", [self.learning_rates.get(config)]):
                if lr is None:
                    raise UserError(f"learning_rates.{config}: missing, must be given since {where} names no lr")
                runs.append(Run(model, config, modulation, lr, seed, identity, training))
        return Block(name, tuple(runs), self._protocols(training, sampling))

    def _check_steps(self, where: Mapping, training: dict, sampling: dict) -> None:
        steps, count = training["steps"], training["snapshots"]
        if count > steps:
            raise UserError(f"{where['training']}.snapshots: found {count}, must be at most training.steps, {steps}")
        for step in sampling["step"]:
            if step is None:
                continue
            if step > steps:
                raise UserError(f"{where['sampling']}.step: found {step}, must be at most training.steps, {steps}")
            taken = snapshot_steps(steps, count)
            if step not in taken:
                near = sorted(sorted(taken, key=lambda other: abs(other - step))[:2])
                raise UserError(
                    f"{where['sampling']}.step: found {step}, must be a step with a snapshot, such as "
                    f"{' or '.join(map(str, near))}: training.snapshots is {count} in {steps} steps"
                )

    def _protocols(self, training: dict, sampling: dict) -> tuple[Protocol, ...]:
        fixed = {key: sampling[key] for key in ("sampler", "steps", "guidance", "count")}
        steps = dict.fromkeys(step or training["steps"] for step in sampling["step"])
        return tuple(
            Protocol(**fixed, ema_width=ema_width, step=step, seed=seed)
            for ema_width, step, seed in itertools.product(sampling["ema_width"], steps, sampling["seeds"])
        )

    @property
    def data_name(self) -> str:
        return data_name(self.data)

    def plan(self, *blocks: str) -> dict:
        """What an aggregation reads: the runs of these blocks, in order, and where the scores of each lie.

        A run that several blocks share stands once, with the scores of all of them.
        """
        runs = {}
        for block in (self.blocks[name] for name in blocks):
            scores = [f"samples/{protocol.name}/{self.score_file}" for protocol in block.protocols]
            for run in block.runs:
                entry = runs.setdefault(run.name, {**run.key(), **self._standing(run), "scores": []})
                entry["scores"] += [score for score in scores if score not in entry["scores"]]
        return {"experiment": "+".join(blocks), "runs": list(runs.values())}

    def _standing(self, run: Run) -> dict:
        """How a run stands in the study: how long it trains, and whether its rate is its letter's own."""
        return {
            "steps": run.training["steps"],
            "paper_setting": is_published(run),
            "standard_lr": run.lr == self.learning_rates.get(run.config),
        }

    def measured(self) -> dict:
        """The options of `mpdit cost`: the letters of each model and modulation that there are runs of."""
        letters, first = {}, next(iter(self.runs.values()))
        for run in self.runs.values():
            letters.setdefault((run.model, run.modulation), {})[run.config] = None
        return {
            "variants": [f"{model}:{modulation}:{','.join(found)}" for (model, modulation), found in letters.items()],
            "batch_size": first.training["batch_size"],
            "precision": first.training["precision"],
        }

    @property
    def score_file(self) -> str:
        """Name of a score beside its samples."""
        against = f"-{self.reference_name}" if self.scoring["reference"] else ""
        return f"fid-{self.scoring['features']}{against}.csv"

    @property
    def statistics(self) -> list[str]:
        """The file of precomputed statistics that `scoring.reference` names, if it does."""
        path = self.scoring["reference"]
        return [path] if path is not None and Path(path).suffix in STATISTICS else []

    @property
    def reference_name(self) -> str:
        """What samples are compared with, as a file's name: the data, or what `scoring.reference` says."""
        path = self.scoring["reference"]
        if path is None:
            return self.data_name
        return f"{re.sub(r'[^A-Za-z0-9_.]+', '_', Path(path).name)}-{digest([path, self.data['resolution']])}"
