"""The jobs and the disk of a study, given what its runs have left in the results folder so far.

Paths are those of the workflow's rules. Torch is imported inside functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..experiment.grid import Block, Experiment, RunSpec
from ..system.errors import UserError
from ..system.files import read_json
from . import sizes as estimate
from .sizes import AutoencoderSize, ModelSize, autoencoder_size, model_size

RULES = ("encode", "encode_shard", "reference", "train", "sample", "score", "trace", "cost")  # whose jobs take time
SHARED = ("encode", "encode_shard", "reference", "cost")  # by all blocks
LISTED = ("mnist", "folder", "zip", "parquet")  # sources whose pictures are counted at once; a tar has to be scanned
TIMED_STEPS = 42  # that `mpdit cost` makes of each variant


@dataclass
class Data:
    """What is known of a study's data."""

    images: int | None  # that the source has; None: not known here
    classes: int
    size: AutoencoderSize
    encoded: bool
    notes: list[str] = field(default_factory=list)  # what is taken for granted


def find_data(experiment: Experiment, results: Path, images: int | None = None) -> Data:
    """From the manifest where the latents are there, or else from the source and the autoencoder's config.

    `images` is what the caller says that the source has.
    """
    data, notes, known = experiment.data, [], True
    if data["autoencoder"] is None:
        channels = 1 if data["source"] == "mnist" else 3
        size = AutoencoderSize((channels, data["resolution"], data["resolution"]), False)
    else:
        size, known = autoencoder_size(data["autoencoder"], data["resolution"])
    path = results / "latents" / experiment.data_name / "manifest.json"
    if path.exists():
        return _encoded(path, size)
    if not known:
        notes.append(f"{data['autoencoder']} is not at hand: taken for an SD-VAE")
    classes = None
    if data["source"] in LISTED:
        from ..data.pictures import open_source

        try:
            source = open_source(data)
            images, classes = images or len(source), len(source.classes)
        except UserError as error:
            notes.append(str(error).split(": must ")[0])
    if images is None:
        notes.append("the number of pictures is not known here (say --images N): encoding and latents are left out")
    if classes is None:
        classes = 1000
        notes.append("1,000 classes are taken for granted")
    return Data(images, classes, size, False, notes)


def _encoded(path: Path, size: AutoencoderSize) -> Data:
    manifest = read_json(path)
    try:
        shape, posterior, classes = tuple(manifest["shape"]), manifest["posterior"], len(manifest["classes"])
        images = manifest["count"] // (2 if manifest["flips"] == "both" else 1)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: {error}: must be written by `mpdit encode`") from None
    return Data(images, classes, AutoencoderSize(shape, posterior, size.encoding, size.decoding), True)


@dataclass
class Jobs:
    """Jobs of one rule: how many there are, how many are done, and the model ("": none) and FLOPs of each other."""

    all: int = 0
    done: int = 0
    to_do: list[tuple[str, int]] = field(default_factory=list)

    def add(self, done: bool, model: str, flops: int) -> None:
        self.all += 1
        self.done += done
        if not done:
            self.to_do.append((model, flops))


@dataclass
class BlockShare:
    """A block of `experiments:`, and the jobs of those of its runs and samples that no block before it has."""

    name: str
    runs: int
    begun: int = 0  # of the new ones: not trained to the end, and not at step 0
    jobs: dict[str, Jobs] = field(default_factory=lambda: {rule: Jobs() for rule in RULES if rule not in SHARED})


class Study:
    """`blocks` of an experiment.

    Attributes: `shares`, a BlockShare a block; `shared`, rule -> the jobs that no block has for itself; `disk`, what
    -> bytes when all is done.
    """

    def __init__(self, experiment: Experiment, blocks: Sequence[str], results: Path, data: Data):
        self.experiment, self.results, self.data = experiment, results, data
        self.features = experiment.scoring["features"]
        self.disk = dict.fromkeys(("latents", "snapshots", "checkpoints", "samples"), 0)
        self.shared = {rule: Jobs() for rule in SHARED}
        self._seen: set = set()
        chosen = [experiment.blocks[name] for name in blocks]
        self.shares = [self._share_of(block) for block in chosen]
        self._add_shared({protocol.count for block in chosen for protocol in block.protocols})

    def jobs(self, rule: str) -> list[Jobs]:
        return [self.shared[rule]] if rule in SHARED else [share.jobs[rule] for share in self.shares]

    def size(self, run: RunSpec) -> ModelSize:
        return self.size_of(run.model, run.config, run.modulation)

    def size_of(self, model: str, config: str, modulation: str) -> ModelSize:
        return model_size(model, config, modulation, self.data.size.shape, self.data.classes)

    def _is_new(self, *key) -> bool:
        new = key not in self._seen
        self._seen.add(key)
        return new

    def _share_of(self, block: Block) -> BlockShare:
        share = BlockShare(block.name, len(block.runs))
        for run in block.runs:
            if self._is_new(run.name):
                self._add_run(share, run)
            for protocol in block.protocols:
                if self._is_new(run.name, protocol.name):
                    self._add_samples(share, run, protocol)
        return share

    def _add_run(self, share: BlockShare, run: RunSpec) -> None:
        folder, size, steps = self.results / "runs" / run.name, self.size(run), run.training["steps"]
        step = step_of(folder, steps)
        share.begun += 0 < step < steps
        share.jobs["train"].add(step >= steps, run.model, estimate.training_flops(size, run.training, steps - step))
        flops = estimate.tracing_flops(size, self.experiment.tracing, run.training)
        share.jobs["trace"].add((folder / "magnitudes.csv").exists(), run.model, flops)
        self.disk["snapshots"] += estimate.snapshots_bytes(size, run.training)
        self.disk["checkpoints"] += estimate.checkpoints_bytes(size, run.training)

    def _add_samples(self, share: BlockShare, run: RunSpec, protocol) -> None:
        folder = self.results / "runs" / run.name / "samples" / protocol.name
        flops = estimate.sampling_flops(self.size(run), protocol) + self.data.size.decoding * protocol.count
        share.jobs["sample"].add((folder / "samples.npz").exists(), run.model, flops)
        scored = (folder / self.experiment.score_file).exists()
        share.jobs["score"].add(scored, "", estimate.FEATURE_FLOPS[self.features] * protocol.count)
        self.disk["samples"] += estimate.samples_bytes(protocol.count, self.experiment.data["resolution"])

    def _add_shared(self, counts: set[int]) -> None:
        experiment, images = self.experiment, self.data.images or 0
        self._add_encoding(images * (2 if experiment.data["flips"] == "both" else 1))
        real = images if experiment.scoring["reference"] is None else 0  # others are not counted
        for count in counts:
            path = self.results / "reference" / f"{experiment.reference_name}-{self.features}-n{count}.npz"
            self.shared["reference"].add(path.exists(), "", real * estimate.FEATURE_FLOPS[self.features])
        variants = {(run.model, run.config, run.modulation): run for run in experiment.runs.values()}
        steps = [estimate.training_flops(self.size(run), run.training, TIMED_STEPS) for run in variants.values()]
        self.shared["cost"].add((self.results / "cost.csv").exists(), "", sum(steps))

    def _add_encoding(self, pictures: int) -> None:
        experiment, size, shards = self.experiment, self.data.size, self.experiment.execution["shards"]
        self.shared["encode"].add(self.data.encoded, "", pictures * size.encoding if shards == 1 else 0)
        for shard in range(1, shards + 1) if shards > 1 else ():
            done = self.results / "latents" / experiment.data_name / "shards" / f"{shard}-of-{shards}" / "finished"
            encoded = self.data.encoded or done.exists()
            self.shared["encode_shard"].add(encoded, "", pictures * size.encoding // shards)
        pixels = experiment.data["autoencoder"] is None
        self.disk["latents"] = estimate.latents_bytes(pictures, size.shape, pixels, size.posterior)


def step_of(folder: Path, steps: int) -> int:
    """The step, of `steps`, that a run goes on from; `steps` also where it has diverged: there is no more to train."""
    from ..training.checkpoint import list_checkpoints

    try:
        trained = read_json(folder / "trained.json") if (folder / "trained.json").exists() else {}
        if trained.get("status") == "diverged" or trained.get("step", 0) >= steps:
            return steps
    except (UserError, AttributeError, TypeError):
        pass  # `mpdit status` tells of damaged runs
    saved = list_checkpoints(folder / "checkpoints")
    return min(saved[-1][0], steps) if saved else 0
