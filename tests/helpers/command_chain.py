"""A study of forty tiny digits, made by every command in turn in this process, and the command lines that make it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mpdit import paper  # noqa: F401  # registers its tables and figures
from mpdit.__main__ import main
from mpdit.experiment.grid import Experiment
from mpdit.rendering.registry import ARTIFACTS

STEPS = (
    "plan", "encode", "encode heldout", "identify", "reference", "lock", "train", "sample", "score", "trace", "heldout",
    "cost", "aggregate", "tune", "render table1", "render loss", "render samples", "report", "interim", "status",
    "import",
)  # fmt: skip
RENDERED = {"table1": "table1.csv", "loss": "figures/loss.png", "samples": "figures/samples.png"}


@contextmanager
def few_artifacts() -> Iterator[None]:
    """Within this context, only RENDERED are registered, of the paper's tables and figures."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ARTIFACTS.keys() - RENDERED:
            patch.delitem(ARTIFACTS, name)
        yield


@dataclass(frozen=True)
class Line:
    """The command line of a step of the study."""

    words: tuple[str, ...]
    reads: tuple[Path, ...]  # files and folders without which the command fails
    output: Path | None = None  # the word that says where to write

    def run(self, output: Path | None = None) -> int:
        """Run the command; with `output`, let it write there instead."""
        words = [str(output) if output and word == str(self.output) else word for word in self.words]
        return main(words)


def command_lines(folder: Path, pictures: Path) -> dict[str, Line]:
    """Write the configuration; the command lines of STEPS by name, which begins with the command's."""
    data = {"name": "tiny", "source": "folder", "path": str(pictures), "resolution": 8, "holdout": 2}
    study = {
        "data": data,
        "training": {"steps": 4, "batch_size": 8, "warmup_steps": 2, "decay_start": 3, "snapshots": 2,
                     "precision": "float32"},
        "sampling": {"steps": 2, "count": 10},
        "scoring": {"features": "efficientnet-lite0"},
        "tuning": {"rates": 5, "start": {"A": 1e-3}},
        "learning_rates": {"A": 1e-3},
        "experiments": {"table1": {"model": "DiT-Nano/4", "config": "A", "modulation": "scale_shift", "seed": 0}},
    }  # fmt: skip
    experiment = Experiment(study)
    (run,), (protocol,) = experiment.runs.values(), experiment.protocols.values()
    results = folder / "results"
    runs, run_folder = results / "runs", results / "runs" / run.name
    samples = run_folder / "samples" / protocol.name
    latents, heldout = results / "latents" / experiment.data_name, results / "latents" / str(experiment.heldout_name)
    spec, trained, plan = run_folder / "spec.json", run_folder / "trained.json", results / "plan.json"
    configuration, data_json, reference = folder / "config.yaml", folder / "data.json", results / "reference.npz"
    elsewhere = folder / "elsewhere" / run.name
    (setting,) = experiment.tuning_settings()
    for path, text in (
        (configuration, yaml.safe_dump(study)),
        (data_json, json.dumps(experiment.data.to_json())),
        (spec, json.dumps(run.to_json())),
        (plan, json.dumps(experiment.plan("table1"))),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def line(*words: object, reads: tuple[Path, ...], output: Path | None = None) -> Line:
        device = ("--device", "cpu") if words[0] in ON_DEVICE else ()
        return Line(tuple(map(str, (*words, *device))), reads, output)

    trained_on = (spec, trained, latents / "manifest.json", latents / "mean.npy")
    rendered = {
        f"render {name}": line(
            "render", name, "--data", results, "--runs", runs, "--output", results / file,
            reads=(results / "runs.csv", *([samples / "samples.npz"] if name == "samples" else [])),
            output=results / file,
        )
        for name, file in RENDERED.items()
    }  # fmt: skip
    return {
        "plan": line("plan", "--configfile", configuration, "--results", results, reads=(configuration,)),
        "encode": line("encode", data_json, "--output", latents, reads=(data_json, pictures), output=latents),
        "encode heldout": line(
            "encode", data_json, "--heldout", "--output", heldout, reads=(data_json, pictures), output=heldout
        ),
        "identify": line(
            "identify", configuration, experiment.data_name, "--results", results, reads=(configuration, pictures)
        ),
        "reference": line(
            "reference", data_json, "--features", "efficientnet-lite0", "--count", 10, "--output", reference,
            reads=(data_json, pictures), output=reference,
        ),
        "lock": line(
            "lock", configuration, "--run", run.name, "--runs", runs, "--output", results / "lock.json",
            reads=(configuration,), output=results / "lock.json",
        ),
        "train": line(
            "train", spec, "--latents", latents, "--output", trained, "--threads", 1,
            reads=(spec, latents / "manifest.json", latents / "mean.npy"), output=trained,
        ),
        "sample": line(
            "sample", run_folder, "--latents", latents, "--output", samples, "--steps", 2, "--count", 10,
            reads=trained_on, output=samples,
        ),
        "score": line(
            "score", samples / "samples.npz", "--reference", reference, "--output", samples / experiment.score_file,
            reads=(samples / "samples.npz", samples / "protocol.json", reference),
            output=samples / experiment.score_file,
        ),
        "trace": line(
            "trace", run_folder, "--latents", latents, "--output", run_folder / "magnitudes.csv", "--images", 4,
            "--timesteps", 250, "--snapshots", 1,
            reads=trained_on, output=run_folder / "magnitudes.csv",
        ),
        "heldout": line(
            "heldout", run_folder, "--latents", latents, "--heldout", heldout, "--snapshots", 1,
            "--output", run_folder / "heldout.csv",
            reads=(*trained_on, heldout / "manifest.json", heldout / "labels.npy"), output=run_folder / "heldout.csv",
        ),
        "cost": line(
            "cost", "--variants", "DiT-Nano/4:scale_shift:A", "--latents", latents, "--batch-size", 4, "--rounds", 6,
            "--output", results / "cost.csv", reads=(latents / "manifest.json",), output=results / "cost.csv",
        ),
        "aggregate": line(
            "aggregate", plan, "--runs", runs, "--heldout", "--output", results, reads=(plan,), output=results
        ),
        "tune": line(
            "tune", configuration, "--setting", setting.name, "--round", 0, "--runs", runs,
            "--output", results / "round-0.json", reads=(configuration,), output=results / "round-0.json",
        ),
        **rendered,
        "report": line(
            "report", configuration, "--results", results, "--runs", runs, "--output", results / "report.html",
            reads=(configuration, results / "runs.csv", results / "table1.md"),
            output=results / "report.html",
        ),
        "interim": line(
            "interim", configuration, "--runs", runs, "--output", results / "interim", reads=(configuration,),
            output=results / "interim",
        ),
        "status": line("status", "--runs", runs, "--plan", plan, reads=(plan,)),
        "import": line(
            "import", elsewhere, "--runs", folder / "imported", "--configuration", configuration,
            reads=(configuration, elsewhere / "spec.json", elsewhere / "trained.json"), output=folder / "imported",
        ),
    }  # fmt: skip


ON_DEVICE = ("reference", "train", "sample", "score", "trace", "heldout", "cost")


def make_study(folder: Path, pictures: Path) -> dict[str, Line]:
    """Run every command in turn; the command lines by name."""
    lines = command_lines(folder, pictures)
    with few_artifacts():
        for name, line in lines.items():
            if name == "import":
                shutil.copytree(folder / "results" / "runs", folder / "elsewhere")
            if name == "report":  # shows it, too; it is made from aggregates of each block, which are not made here
                (folder / "results" / "comparisons.md").write_text("| comparison |\n| --- |\n| none |\n")
            assert line.run() == 0, name
    return lines
