"""The one source of truth of what is run: configuration -> `Experiment` -> its runs, and the protocols of each.

A block of `experiments:` is a product of axes; the union over blocks is the set of runs. A run is named by its axes
and eight hex digits of a hash of everything else (`names`); the name is never parsed back.
Torch-free: Snakemake imports this module each time it parses the workflow, once per job.
"""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..system.errors import UserError
from . import run_files
from .block import Block
from .checks import (
    STATISTICS,
    data_problems,
    patch_problems,
    scoring_problems,
    shared_run_problems,
    step_problems,
    width_problems,
)
from .columns import AGGREGATES, HELDOUT_AGGREGATES
from .definitions import study_ladder
from .features import file_name
from .ladder import MODELS
from .names import autoencoder_name, digest
from .parse import in_file, parse_configuration, raise_problems, read_configuration
from .published import is_published
from .rates import Setting, how_tuned, setting_of
from .records import PlannedRun
from .run_spec import DataIdentity, Protocol, RunSpec
from .schema import Block as BlockSection
from .schema import Sampling, Training
from .study_file import with_study
from .study_rates import StudyRates
from .tuning_setting import TuningSetting
from .yaml_text import load_yaml

SectionType = TypeVar("SectionType", Training, Sampling)


class Experiment:
    """A validated configuration: its sections, blocks, runs and protocols.

    Raises UserError with one line per mistake, each naming the field, what was expected and what was found.
    """

    def __init__(self, configuration: Mapping[str, Any], *, untuned: bool = False):
        """`untuned`: go on where the file that `learning_rates` names is missing, with the starting rates in its place,
        so that a study can be planned and tuned."""
        parsed = parse_configuration(configuration)
        self.data, self.training, self.sampling = parsed.data, parsed.training, parsed.sampling
        self.scoring, self.tracing, self.execution = parsed.scoring, parsed.tracing, parsed.execution
        self.heldout, self.tuning, self.claims = parsed.heldout, parsed.tuning, parsed.claims
        self.ladder = study_ladder(parsed.configs, parsed.sizes)
        self.study = parsed.study  # path of the study's Python file, as seen from the working folder
        problems = data_problems(self.data) + scoring_problems(self.scoring)
        models = {name: section.model for name, section in parsed.experiments.items()}
        problems += patch_problems(self.data, models, self.ladder)
        self._rates = StudyRates(parsed.learning_rates, self.tuning, untuned)
        self.rates, self.learning_rates = self._rates.chosen, self._rates.given
        for name, section in parsed.experiments.items():
            problems += self._block_problems(name, section)
        raise_problems(list(dict.fromkeys(problems)))
        self._sections = dict(parsed.experiments)
        self.blocks = {name: self._block(name, section) for name, section in parsed.experiments.items()}
        raise_problems(shared_run_problems((block.name, block.runs) for block in self.blocks.values()))
        self.runs = {run.name: run for block in self.blocks.values() for run in block.runs}
        self.protocols = {protocol.name: protocol for block in self.blocks.values() for protocol in block.protocols}
        self.configuration = parsed.with_defaults()

    # Blocks

    def _block(self, name: str, section: BlockSection) -> Block:
        training, sampling = _override(self.training, section.training), _override(self.sampling, section.sampling)
        runs = tuple(
            self._run(model, config, modulation, lr, seed, training)
            for model, config, modulation, seed in itertools.product(
                section.model, section.config, section.modulation, section.seed
            )
            for lr in section.lr or [self._rates.rate(self._run(model, config, modulation, 1.0, seed, training))]
            if lr is not None
        )
        return Block(name, runs, {run.name: self._protocols(run, sampling) for run in runs})

    def _run(self, model: str, config: str, modulation: str, lr: float, seed: int, training: Training) -> RunSpec:
        size, _ = self.ladder.parse_model(model)
        own_size = None if model in MODELS else size
        fields, data = self.ladder.config(config), DataIdentity.of(self.data)
        return RunSpec(model, config, modulation, lr, seed, data, training, fields, own_size=own_size)

    def _protocols(self, run: RunSpec, sampling: Sampling) -> tuple[Protocol, ...]:
        steps = dict.fromkeys(step or run.training.steps for step in sampling.step)
        seeds = (run.seed,) if sampling.seeds == "paired" else sampling.seeds
        tuned = self._rates.tuned(run)
        widths = (tuned.ema_width if tuned else None,) if sampling.ema_width == "tuned" else sampling.ema_width
        return tuple(
            Protocol(sampling.sampler, sampling.steps, sampling.guidance, sampling.count, ema_width, step, seed)
            for ema_width, step, seed in itertools.product(widths, steps, seeds)
        )

    def _block_problems(self, name: str, section: BlockSection) -> list[str]:
        """What is wrong across the fields of a block and the sections that it builds on."""
        where = f"experiments.{name}"
        training, sampling = _override(self.training, section.training), _override(self.sampling, section.sampling)
        settings = itertools.product(section.model, section.config, section.modulation) if section.lr is None else ()
        fields = [self._rates.require(self._run(*setting, 1.0, 0, training)) for setting in settings]
        problems = [
            f"{field}: missing; {where} names no lr, so it needs a number above 0"
            for field in dict.fromkeys(filter(None, fields))
        ]
        if sampling.ema_width == "tuned" and not (self.rates or self.missing_rates):
            problems += ["sampling.ema_width: tuned needs learning_rates to name the rates.csv of `snakemake tune`"]
        prefix = {
            "training": f"{where}.training" if section.training.model_fields_set else "training",
            "sampling": f"{where}.sampling" if section.sampling.model_fields_set else "sampling",
        }
        chosen = {tuned.ema_width for tuned in self.rates.values()} if sampling.ema_width == "tuned" else ()
        widths = chosen if isinstance(sampling.ema_width, str) else sampling.ema_width
        return [
            *problems,
            *step_problems(prefix, training, sampling),
            *width_problems(f"{prefix['sampling']}.ema_width", training, widths, sampling.step),
        ]

    # Tuning

    def tuning_settings(self) -> list[TuningSetting]:
        """Each model, configuration and modulation, with its recipe, of blocks that name no learning rates.

        Raises UserError where the search has no rate to start from, cannot give a width, or shares a training seed with
        the study.
        """
        shared = sorted({run.seed for run in self.runs.values()} & set(self.tuning.seeds))
        settings: dict[Setting, TuningSetting] = {}
        for name, section in self._sections.items():
            for run in self.blocks[name].runs if section.lr is None else ():
                if setting_of(run) in settings:
                    continue
                setting = TuningSetting.of(run, self.tuning, self._rates.start(run))
                raise_problems(width_problems("tuning.ema_widths", setting.template.training, self.tuning.ema_widths))
                settings[setting_of(run)] = setting
        if settings and shared:
            raise UserError(f"tuning.seeds: expected other seeds than those of the experiments, got {shared[0]}")
        return list(settings.values())

    # What the workflow asks

    @property
    def missing_rates(self) -> str | None:
        """What the file that `learning_rates` names lacks, in words: itself, or the rate of a setting."""
        return self._rates.missing

    @property
    def data_name(self) -> str:
        return DataIdentity.of(self.data).folder_name

    @property
    def heldout_name(self) -> str | None:
        """Name of the folder of the held-out pictures' latents; None where there are none."""
        holdout = self.data.holdout
        if holdout is None:
            return None
        if isinstance(holdout, int):
            return f"{self.data_name}-heldout"
        identity = [Path(holdout).name, self.data.resolution, autoencoder_name(self.data.autoencoder)]
        return f"{self.data.name}-heldout-{digest(identity)}"

    @property
    def definitions(self) -> dict[str, Any]:
        """The part of the configuration that defines configurations and sizes; empty where the shipped ones do."""
        return {key: self.configuration[key] for key in ("configs", "sizes") if key in self.configuration}

    @property
    def aggregates(self) -> tuple[str, ...]:
        """Names of the tables that are aggregated over runs."""
        return AGGREGATES if self.heldout_name is None else (*AGGREGATES, *HELDOUT_AGGREGATES)

    def plan(self, *blocks: str) -> dict[str, Any]:
        """What plan.json holds: the runs of these blocks, for aggregation."""
        runs = [run.to_json() for run in self.planned_runs(*blocks)]
        return {"experiment": "+".join(blocks), "runs": runs, **self.definitions}

    def planned_runs(self, *blocks: str) -> list[PlannedRun]:
        """The runs of these blocks, in order, and where the scores of each are.

        A run that several blocks share appears once, with the scores of all of them.
        """
        runs: dict[str, RunSpec] = {}
        scores: dict[str, dict[str, None]] = {}
        for block in (self.blocks[name] for name in blocks):
            for run in block.runs:
                protocols = block.protocols_of[run.name]
                files = [f"{run_files.SAMPLES}/{protocol.name}/{self.score_file}" for protocol in protocols]
                runs.setdefault(run.name, run)
                scores.setdefault(run.name, {}).update(dict.fromkeys(files))
        return [
            PlannedRun(
                **run.key(),
                steps=run.training.steps,
                paper_setting=is_published(run),
                standard_lr=run.lr == self._rates.rate(run),
                scores=tuple(scores[name]),
                tuning=how_tuned(run, self.rates),
                tuning_rates=self.rates[setting_of(run)].rates if setting_of(run) in self.rates else None,
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
            **({"configuration": json.dumps(self.definitions)} if self.definitions else {}),
            "variants": [f"{model}:{modulation}:{','.join(names)}" for (model, modulation), names in configs.items()],
            "batch_size": first.training.batch_size,
            "precision": first.training.precision,
        }

    @property
    def score_file(self) -> str:
        """Name of a score beside its samples."""
        return run_files.score_file(
            file_name(self.scoring.features), self.reference_name if self.scoring.reference else None
        )

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


def read_experiment(text: str | Path, *, untuned: bool = False) -> Experiment:
    """The study of a command line: a configuration's YAML file, or its JSON itself; `untuned` as in `Experiment`.

    Runs the Python file that it names under `study:`. Raises UserError, one line per mistake, each naming the file.
    """
    is_file = not str(text).lstrip().startswith("{")
    values = read_configuration(text) if is_file else load_yaml(str(text), "CONFIGURATION")
    values = with_study(values, Path(text).parent if is_file else ".")
    try:
        return Experiment(values, untuned=untuned)
    except UserError as error:
        raise UserError(in_file(str(error), text) if is_file else str(error)) from None


def _override(base: SectionType, block: SectionType) -> SectionType:
    """A section with the keys that a block sets in place of the configuration's."""
    return base.model_copy(update={key: getattr(block, key) for key in block.model_fields_set})
