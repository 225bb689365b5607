"""The one source of truth of what is run: configuration -> `Experiment` -> its runs, and the protocols of each.

A block of `experiments:` is a product of axes; the union over blocks is the set of runs. A run is named by its axes
and eight hex digits of a hash of everything else (`names`); the name is never parsed back.
Torch-free: Snakemake imports this module each time it parses the workflow, once per job.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..system.errors import UserError
from . import parse, run_files
from .ladder import resolve
from .names import digest
from .parse import data_problems, load_yaml, parse_configuration, parse_data, raise_problems, read_yaml
from .published import is_published
from .records import PlannedRun
from .run_spec import DataIdentity, Protocol, RunSpec
from .schedule import snapshot_steps
from .schema import Block as BlockSection
from .schema import Configuration, Sampling, Training

STATISTICS = (".npz", ".pt", ".pth")  # suffixes of a `scoring.reference` of precomputed statistics; others are images

SectionType = TypeVar("SectionType", Training, Sampling)


@dataclass(frozen=True)
class Block:
    """One entry of `experiments:`: its runs, and the protocols under which each is sampled."""

    name: str
    runs: tuple[RunSpec, ...]
    protocols: tuple[Protocol, ...]


class Experiment:
    """A validated configuration: its sections, blocks, runs and protocols.

    Raises UserError with one line per mistake, each naming the field, what was expected and what was found.
    """

    def __init__(self, configuration: Mapping[str, Any]):
        parsed = parse_configuration(configuration)
        self.data, self.training, self.sampling = parsed.data, parsed.training, parsed.sampling
        self.scoring, self.tracing, self.execution = parsed.scoring, parsed.tracing, parsed.execution
        self.learning_rates = dict(parsed.learning_rates)
        problems = data_problems(self.data)
        for name, section in parsed.experiments.items():
            problems += self._block_problems(name, section)
        raise_problems(list(dict.fromkeys(problems)))
        self.blocks = {name: self._block(name, section) for name, section in parsed.experiments.items()}
        self.runs = {run.name: run for block in self.blocks.values() for run in block.runs}
        self.protocols = {protocol.name: protocol for block in self.blocks.values() for protocol in block.protocols}
        self.configuration = _with_defaults(parsed)

    # Blocks

    def _block(self, name: str, section: BlockSection) -> Block:
        training, sampling = _override(self.training, section.training), _override(self.sampling, section.sampling)
        data = DataIdentity.of(self.data)
        runs = tuple(
            RunSpec(model, config, modulation, lr, seed, data, training, resolve(config))
            for model, config, modulation, seed in itertools.product(
                section.model, section.config, section.modulation, section.seed
            )
            for lr in section.lr or (self.learning_rates[config],)
        )
        return Block(name, runs, _protocols(training, sampling))

    def _block_problems(self, name: str, section: BlockSection) -> list[str]:
        """What is wrong across the fields of a block and the sections that it builds on."""
        where = f"experiments.{name}"
        problems = []
        if section.lr is None:
            problems += [
                f"learning_rates.{config}: missing; {where} names no lr, so it needs a number above 0"
                for config in section.config
                if config not in self.learning_rates
            ]
        prefix = {
            "training": f"{where}.training" if section.training.model_fields_set else "training",
            "sampling": f"{where}.sampling" if section.sampling.model_fields_set else "sampling",
        }
        training, sampling = _override(self.training, section.training), _override(self.sampling, section.sampling)
        return problems + _step_problems(prefix, training, sampling)

    # What the workflow asks

    @property
    def data_name(self) -> str:
        return DataIdentity.of(self.data).folder_name

    def plan(self, *blocks: str) -> dict[str, Any]:
        """What plan.json holds: the runs of these blocks, for aggregation."""
        return {"experiment": "+".join(blocks), "runs": [run.to_json() for run in self.planned_runs(*blocks)]}

    def planned_runs(self, *blocks: str) -> list[PlannedRun]:
        """The runs of these blocks, in order, and where the scores of each are.

        A run that several blocks share appears once, with the scores of all of them.
        """
        runs: dict[str, RunSpec] = {}
        scores: dict[str, dict[str, None]] = {}
        for block in (self.blocks[name] for name in blocks):
            files = [f"{run_files.SAMPLES}/{protocol.name}/{self.score_file}" for protocol in block.protocols]
            for run in block.runs:
                runs.setdefault(run.name, run)
                scores.setdefault(run.name, {}).update(dict.fromkeys(files))
        return [
            PlannedRun(
                **run.key(),
                steps=run.training.steps,
                paper_setting=is_published(run),
                standard_lr=run.lr == self.learning_rates.get(run.config),
                scores=tuple(scores[name]),
            )
            for name, run in runs.items()
        ]

    def measured(self) -> dict[str, Any]:
        """The options of `mpdit cost`: the configurations of each model and modulation that there are runs of."""
        configs: dict[tuple[str, str], dict[str, None]] = {}
        first = next(iter(self.runs.values()))
        for run in self.runs.values():
            configs.setdefault((run.model, run.modulation), {})[run.config] = None
        return {
            "variants": [f"{model}:{modulation}:{','.join(names)}" for (model, modulation), names in configs.items()],
            "batch_size": first.training.batch_size,
            "precision": first.training.precision,
        }

    @property
    def score_file(self) -> str:
        """Name of a score beside its samples."""
        return run_files.score_file(self.scoring.features, self.reference_name if self.scoring.reference else None)

    @property
    def statistics(self) -> list[str]:
        """The file of precomputed statistics that `scoring.reference` names, if it does."""
        path = self.scoring.reference
        return [path] if path is not None and Path(path).suffix in STATISTICS else []

    @property
    def reference_name(self) -> str:
        """What samples are compared with, as part of a file name: the data, or what `scoring.reference` names."""
        path = self.scoring.reference
        if path is None:
            return self.data_name
        return f"{re.sub(r'[^A-Za-z0-9_.]+', '_', Path(path).name)}-{digest([path, self.data.resolution])}"


def read_experiment(text: str | Path) -> Experiment:
    """The study of a command line: a configuration's YAML file, or its JSON itself.

    Raises UserError, one line per mistake, each naming the file.
    """
    is_file = not str(text).lstrip().startswith("{")
    values = read_yaml(text) if is_file else load_yaml(str(text), "CONFIGURATION")
    try:
        return Experiment(values)
    except UserError as error:
        lines = str(error).splitlines()
        raise UserError("\n".join(f"{text}: {line}" for line in lines) if is_file else str(error)) from None


def _override(base: SectionType, block: SectionType) -> SectionType:
    """A section with the keys that a block sets in place of the configuration's."""
    return base.model_copy(update={key: getattr(block, key) for key in block.model_fields_set})


def _protocols(training: Training, sampling: Sampling) -> tuple[Protocol, ...]:
    steps = dict.fromkeys(step or training.steps for step in sampling.step)
    return tuple(
        Protocol(sampling.sampler, sampling.steps, sampling.guidance, sampling.count, ema_width, step, seed)
        for ema_width, step, seed in itertools.product(sampling.ema_width, steps, sampling.seeds)
    )


def _step_problems(prefix: Mapping[str, str], training: Training, sampling: Sampling) -> list[str]:
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


def _with_defaults(configuration: Configuration) -> dict[str, Any]:
    """The configuration as JSON has it, with every default but those of keys that blocks override."""
    values = configuration.model_dump(mode="json", exclude={"experiments"})
    blocks = {name: _block_json(block) for name, block in configuration.experiments.items()}
    return {**values, "experiments": blocks}


def _block_json(block: BlockSection) -> dict[str, Any]:
    values = block.model_dump(mode="json", exclude_unset=True)
    return {key: values[key] for key in type(block).model_fields if values.get(key)}


# ---------------------------------------------------------------------------------------------------------------------
# TODO: until every caller takes `schema.Data` and `RunSpec`


def check_data(data: Mapping[str, Any]) -> dict[str, Any]:
    return parse_data(dict(data)).to_json()


def read_data(text: str) -> dict[str, Any]:
    return parse.read_data(text).to_json()
