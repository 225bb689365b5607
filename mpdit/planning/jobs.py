"""The jobs and the disk space of a study, given what its runs have left in the results folder so far.

Paths are those of the workflow's rules.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..experiment import run_files
from ..experiment.block import Block
from ..experiment.features import FEATURES, file_name
from ..experiment.grid import Experiment
from ..experiment.heldout_widths import heldout_widths
from ..experiment.records import TrainedRun
from ..experiment.run_spec import Protocol, RunSpec
from ..system.errors import UserError
from . import sizes
from .data_summary import DataSummary
from .sizes import ModelSize, model_size

RULES = (  # whose jobs take time; tune: the training runs that a search for learning rates takes
    "tune", "encode", "encode_shard", "encode_heldout", "reference", "train", "sample", "score", "trace", "heldout",
    "cost",
)  # fmt: skip
SHARED = ("tune", "encode", "encode_shard", "encode_heldout", "reference", "cost")  # rules whose jobs serve all blocks
TIMED_STEPS = 26  # that `mpdit cost` takes of each variant, two of them before it looks at the clock


@dataclass(frozen=True)
class Job:
    """The work of one job."""

    model: str  # "" where no model of the grid is involved
    flops: int


@dataclass
class Jobs:
    """The jobs of one rule."""

    all: int = 0
    done: int = 0
    to_do: list[Job] = field(default_factory=list)

    def add(self, is_done: bool, job: Job) -> None:
        self.all += 1
        self.done += is_done
        if not is_done:
            self.to_do.append(job)


@dataclass
class DiskUse:
    """Bytes on disk when a study is done."""

    latents: int = 0
    snapshots: int = 0
    checkpoints: int = 0
    samples: int = 0

    def by_kind(self) -> dict[str, int]:
        return asdict(self)

    @property
    def total(self) -> int:
        return sum(self.by_kind().values())


@dataclass
class BlockShare:
    """A block of `experiments:`, with the jobs of those of its runs and samples that no earlier block has."""

    name: str
    runs: int  # all of the block's
    begun: int = 0  # new runs that have trained some of their steps
    jobs: dict[str, Jobs] = field(default_factory=lambda: {rule: Jobs() for rule in RULES if rule not in SHARED})


class Workload:
    """What is to do for some blocks of an experiment.

    Attributes: `shares`, one BlockShare per block; `shared`, the jobs that serve all blocks, by rule; `disk`.
    """

    def __init__(self, experiment: Experiment, blocks: Sequence[str], results: Path, data: DataSummary):
        self.experiment, self.results, self.data = experiment, results, data
        self.disk = DiskUse()
        self.shared = {rule: Jobs() for rule in SHARED}
        self._counted: set[tuple[str, ...]] = set()
        chosen = [experiment.blocks[name] for name in blocks]
        self.shares = [self._share_of(block) for block in chosen]
        self._add_shared({protocol.count for block in chosen for protocol in block.protocols})

    def jobs(self, rule: str) -> list[Jobs]:
        """The jobs of a rule: one entry per block, or a single one for a rule that serves all blocks."""
        return [self.shared[rule]] if rule in SHARED else [share.jobs[rule] for share in self.shares]

    def size(self, run: RunSpec) -> ModelSize:
        """The size of a run's model on the latents of this study."""
        shape, classes = self.data.autoencoder.shape, self.data.classes
        return model_size(run.size, run.patch, run.fields, run.modulation, shape, classes)

    def _is_new(self, *key: str) -> bool:
        is_new = key not in self._counted
        self._counted.add(key)
        return is_new

    def _share_of(self, block: Block) -> BlockShare:
        share = BlockShare(block.name, len(block.runs))
        for run in block.runs:
            if self._is_new(run.name):
                self._add_run(share, run)
            for protocol in block.protocols_of[run.name]:
                if self._is_new(run.name, protocol.name):
                    self._add_samples(share, run, protocol)
        return share

    def _add_run(self, share: BlockShare, run: RunSpec) -> None:
        folder, size, steps = self.results / "runs" / run.name, self.size(run), run.training.steps
        done = finished_steps(folder, steps)
        share.begun += 0 < done < steps
        left = Job(run.model, sizes.training_flops(size, run.training, steps - done))
        share.jobs["train"].add(done >= steps, left)
        tracing = Job(run.model, sizes.tracing_flops(size, self.experiment.tracing, run.training))
        share.jobs["trace"].add((folder / run_files.MAGNITUDES).exists(), tracing)
        if self.experiment.heldout_name is not None:
            self._add_heldout(share, run)
        self.disk.snapshots += sizes.snapshots_bytes(size, run.training)
        self.disk.checkpoints += sizes.checkpoints_bytes(size, run.training)

    def _add_heldout(self, share: BlockShare, run: RunSpec) -> None:
        is_done = (self.results / "runs" / run.name / run_files.HELDOUT).exists()
        images, widths = self.data.heldout_images or 0, len(heldout_widths(self.experiment, run))
        flops = sizes.heldout_flops(self.size(run), images, self.experiment.heldout, run.training, widths)
        share.jobs["heldout"].add(is_done, Job(run.model, flops))

    def _add_samples(self, share: BlockShare, run: RunSpec, protocol: Protocol) -> None:
        folder = self.results / "runs" / run.name / run_files.SAMPLES / protocol.name
        flops = sizes.sampling_flops(self.size(run), protocol) + self.data.autoencoder.decoding * protocol.count
        share.jobs["sample"].add((folder / run_files.SAMPLE_ARRAYS).exists(), Job(run.model, flops))
        features = FEATURES[self.experiment.scoring.features].flops
        share.jobs["score"].add((folder / self.experiment.score_file).exists(), Job("", features * protocol.count))
        self.disk.samples += sizes.samples_bytes(protocol.count, self.experiment.data.resolution)

    def _add_shared(self, counts: set[int]) -> None:
        experiment, images = self.experiment, self.data.images or 0
        features = experiment.scoring.features
        self._add_encoding(images * (2 if experiment.data.flips == "both" else 1))
        real = images if experiment.scoring.reference is None else 0  # images elsewhere are not counted
        for count in counts:
            path = self.results / "reference" / f"{experiment.reference_name}-{file_name(features)}-n{count}.npz"
            self.shared["reference"].add(path.exists(), Job("", real * FEATURES[features].flops))
        self._add_tuning()
        variants = {(run.model, run.fields, run.modulation): run for run in experiment.runs.values()}
        flops = [sizes.training_flops(self.size(run), run.training, TIMED_STEPS) for run in variants.values()]
        self.shared["cost"].add((self.results / "cost.csv").exists(), Job("", sum(flops)))

    def _add_tuning(self) -> None:
        """The runs of every search, where the file of tuned rates is yet to be made."""
        if self.experiment.missing_rates is None:
            return
        for setting in self.experiment.tuning_settings():
            run, count = setting.template, self.experiment.tuning.rates * len(self.experiment.tuning.seeds)
            flops = sizes.training_flops(self.size(run), run.training, run.training.steps)
            done = sum(
                finished_steps(self.results / "runs" / candidate.name, run.training.steps) >= run.training.steps
                for candidate in setting.runs()
            )
            for number in range(count):
                self.shared["tune"].add(number < done, Job(run.model, flops))

    def _add_encoding(self, images: int) -> None:
        experiment, size, shards = self.experiment, self.data.autoencoder, self.experiment.execution.shards
        latents = self.results / "latents" / experiment.data_name
        flops = images * size.encoding
        self.shared["encode"].add(self.data.encoded, Job("", flops if shards == 1 else 0))
        for shard in range(1, shards + 1) if shards > 1 else ():
            finished = latents / "shards" / f"{shard}-of-{shards}" / "finished"
            self.shared["encode_shard"].add(self.data.encoded or finished.exists(), Job("", flops // shards))
        if experiment.heldout_name is not None:
            manifest = self.results / "latents" / experiment.heldout_name / run_files.MANIFEST
            heldout = self.data.heldout_images or 0
            self.shared["encode_heldout"].add(manifest.exists(), Job("", heldout * size.encoding))
            images += heldout
        is_pixels = experiment.data.autoencoder is None
        self.disk.latents = sizes.latents_bytes(images, size.shape, is_pixels, size.posterior)


def finished_steps(folder: Path, steps: int) -> int:
    """The number of training steps, of `steps`, that need not be trained again: up to the newest checkpoint.

    It is `steps` also for a run that diverged, which trains no further.
    """
    path = folder / run_files.TRAINED
    if path.exists():
        try:
            trained = TrainedRun.read(path)
        except UserError:
            pass  # `mpdit status` reports damaged runs
        else:
            if trained.status == "diverged" or trained.step >= steps:
                return steps
    saved = run_files.list_checkpoints(folder / run_files.CHECKPOINTS)
    return min(saved[-1][0], steps) if saved else 0
