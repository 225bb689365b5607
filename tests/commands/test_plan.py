"""`mpdit plan`: what it prints, and its mistakes."""

import copy

import pytest
import yaml
from helpers.workloads import SMALL_STUDY, finish_run, printed_row, workload_of

from mpdit.__main__ import main


@pytest.fixture
def plan(tmp_path, capsys):
    """A function: options -> what `mpdit plan` prints for SMALL_STUDY, or for another configuration."""

    def run_plan(*options: str, configuration: dict = SMALL_STUDY) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(configuration))
        assert main(["plan", "--configfile", str(path), "--results", str(tmp_path / "results"), *options]) == 0
        return capsys.readouterr().out

    return run_plan


def test_the_command_prints_what_was_counted(plan, tmp_path):
    output = plan("--flops-per-second", "1e6")
    workload = workload_of(tmp_path / "results")
    assert output.startswith(f"{tmp_path}/study.yaml: 3 runs in 2 blocks\n")
    assert printed_row(output, "block")[-1] == "core-hours"
    train = [job for jobs in workload.jobs("train") for job in jobs.to_do]
    hours = sum(5 + job.flops / 1e6 for job in train) / 3600
    assert printed_row(output, "train")[:4] == ["train", "3", "0", "3"]
    assert printed_row(output, "train")[5] == f"{hours:.2f}"
    assert printed_row(output, "table1")[1:7] == ["2", "2", "0", "0", "2", "0"]
    assert printed_row(output, "table2")[1:7] == ["2", "1", "0", "0", "3", "0"]
    assert printed_row(output, "latents") == ["latents", "360 kB"]
    assert "- 1 MFLOP/s per core, as given" in output
    assert not (tmp_path / "results").exists()


def test_a_finished_study_takes_no_more(plan, tmp_path):
    experiment = workload_of(tmp_path).experiment
    folders = {run.name: finish_run(run, tmp_path / "results") for run in experiment.runs.values()}
    for run in experiment.planned_runs(*experiment.blocks):
        (folders[run.run] / "magnitudes.csv").touch()
        for score in run.scores:
            path = folders[run.run] / score
            path.parent.mkdir(parents=True)
            path.touch()
            path.with_name("samples.npz").touch()
    output = plan("--block", "table1")
    assert printed_row(output, "table1")[1:] == ["2", "2", "2", "0", "2", "2", "0.00"]
    assert printed_row(output, "train")[1:] == ["2", "2", "0", "0", "0.00"]
    assert "measured by 3 finished runs" in output


def test_columns_are_aligned_and_fit_a_terminal(plan):
    output = plan()
    for table in output.split("\n\n")[1:4]:
        lines = [line for line in table.splitlines() if line.count("  ")]
        assert len({len(line) for line in lines}) == 1
    assert max(map(len, output.splitlines())) <= 120


def test_an_unknown_number_of_images_is_shown_as_such_and_can_be_given(plan):
    configuration = copy.deepcopy(SMALL_STUDY)
    configuration["data"] |= {"source": "zip", "path": "nowhere.zip"}
    output = plan(configuration=configuration)
    assert printed_row(output, "latents") == ["latents", "?"]
    assert printed_row(output, "encode")[4:] == ["?", "?"]
    assert "- data.path: nowhere.zip: no such file" in output
    given = plan("--images", "1000", configuration=configuration)
    assert printed_row(given, "latents") == ["latents", "200 kB"]  # 3 channels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--block", "table9"], "--block: table9: must be one of table1, table2"),
        (["--flops-per-second", "0"], "--flops-per-second: 0: must be a number above 0"),
        (["--flops-per-second", "nan"], "--flops-per-second: nan: must be a number above 0"),
        (["--images", "0"], "--images: 0: must be at least 1"),
        (["--configfile", "nowhere.yaml"], "nowhere.yaml: no such file; expected a YAML file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, options, message):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMALL_STUDY))
    assert main(["plan", "--configfile", str(tmp_path / "study.yaml"), *options]) == 2
    assert capsys.readouterr().err == f"mpdit plan: {message}\n"


@pytest.mark.parametrize("text", ["a: [1", "", yaml.safe_dump(SMALL_STUDY | {"stages": 1})])
def test_a_wrong_configuration_is_one_line_that_names_the_file(tmp_path, capsys, text):
    (tmp_path / "study.yaml").write_text(text)
    assert main(["plan", "--configfile", str(tmp_path / "study.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mpdit plan: {tmp_path}/study.yaml: ")
    assert error.count("\n") == 1
