"""References from elsewhere: precomputed statistics, what they can't tell, and how tables and names show it."""

import hashlib

import numpy as np
import pytest
import torch
from helpers.made_up_runs import PROTOCOL, SCORE_FILE, entry, score_row, write_plan, write_rows, write_run
from torch_fidelity.metric_fid import fid_features_to_statistics
from torch_fidelity.utils import cache_lookup_one_recompute_on_miss

from mpdit import paper
from mpdit.commands.score import COLUMNS
from mpdit.evaluation import metrics
from mpdit.evaluation.metrics import Reference, read_statistics
from mpdit.experiment.grid import Experiment
from mpdit.results import collect as aggregate
from mpdit.system.errors import UserError

FEATURES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
MU, SIGMA = FEATURES.astype(np.float64).mean(axis=0), np.cov(FEATURES.astype(np.float64), rowvar=False)
UNKNOWN = ("reference_count", "kid", "kid_sd", "fid_floor", "kid_floor", "floor_count")


def adm(path, **changes):
    """As the ADM evaluator's: images and spatial statistics beside. The images can't even be read here."""
    arrays = {"arr_0": np.array([{"not": "to be read"}]), "mu": MU, "sigma": SIGMA, "mu_s": MU[:3]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def fidelity(path):
    """As torch-fidelity itself caches statistics."""
    cache = {"cache": True, "cache_root": str(path.parent), "verbose": False}
    cache_lookup_one_recompute_on_miss(
        path.stem, lambda: fid_features_to_statistics(torch.from_numpy(FEATURES)), **cache
    )
    return path


@pytest.mark.parametrize("make, name", [(adm, "adm.npz"), (fidelity, "digits-stat-fid-2048.pt")])
def test_statistics_of_others_are_read(tmp_path, make, name):
    path = make(tmp_path / name)
    mu, sigma = read_statistics(path, 6)
    assert mu.dtype == sigma.dtype == np.float64
    np.testing.assert_allclose(mu, MU, rtol=1e-5)
    np.testing.assert_allclose(sigma, SIGMA, rtol=1e-5, atol=1e-7)
    reference = Reference.precomputed(path, "inception", "f" * 16, 6)
    assert (reference.name, reference.hash) == (name, hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    reference.save(tmp_path / "reference.npz")
    loaded = Reference.load(tmp_path / "reference.npz")
    assert np.isnan(loaded.count) and np.array_equal(loaded.sigma, sigma)


def test_statistics_alone_give_the_same_frechet_distance_and_nothing_else(tmp_path):
    moments, rows, floor = metrics.reference_statistics([FEATURES], 10, np.random.default_rng(0))
    full = Reference("digits", "a", "inception", "b", 40, moments.mean, moments.covariance, rows, **floor)
    alone = Reference.precomputed(adm(tmp_path / "adm.npz"), "inception", "b", 6)
    samples = np.random.default_rng(1).normal(size=(30, 6)).astype(np.float32)
    ours, theirs = metrics.score(samples, alone), metrics.score(samples, full)
    assert ours["fid"] == pytest.approx(theirs["fid"], rel=1e-9) and theirs["fid"] > 0
    assert ours["fid_rank_deficient"] is False and metrics.score(samples[:6], alone)["fid_rank_deficient"] is True
    assert all(np.isnan(ours[name]) for name in UNKNOWN if name in ours) and all(map(np.isfinite, theirs.values()))


class Evil:
    def __reduce__(self):
        return print, ("unpickled",)


def one_array(path):
    with open(path, "wb") as file:
        np.save(file, MU)


def skewed(**changes):
    return lambda path: adm(path, **changes)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("it.npz", lambda path: None, r"it\.npz: no such file$"),
        ("it.pt", lambda path: None, r"it\.pt: no such file$"),
        ("it.npz", lambda path: path.write_text("x"), r"it\.npz: not an \.npz file of arrays"),
        ("it.npz", one_array, r"it\.npz: not an \.npz file of arrays"),
        ("it.pt", lambda path: path.write_text("x"), r"it\.pt: not a file of arrays: must be torch-fidelity's"),
        ("it.pt", lambda path: torch.save({"mu": Evil()}, path), r"it\.pt: not a file of arrays: must be"),
        ("it.pt", lambda path: torch.save([MU, SIGMA], path), r"it\.pt: not a file of arrays: must be"),
        ("it.npz", skewed(mu=None), r"it\.npz: no mu in it: must be statistics, mu and sigma$"),
        ("it.npz", skewed(sigma=None), r"it\.npz: no sigma in it"),
        ("it.npz", skewed(mu=MU[:5]), r"it\.npz: mu is float64 \(5,\): must be floats \(6,\) for these features"),
        ("it.npz", skewed(sigma=SIGMA[0]), r"it\.npz: sigma is float64 \(6,\): must be floats \(6, 6\)"),
        ("it.npz", skewed(mu=np.array(["a"] * 6)), r"it\.npz: mu is <U1 \(6,\): must be floats"),
        ("it.npz", skewed(mu=MU * np.nan), r"it\.npz: mu is not finite"),
        ("it.npz", skewed(sigma=SIGMA + np.triu(np.ones((6, 6)), 1)), r"it\.npz: sigma is no covariance: must be"),
        ("it.npz", skewed(sigma=-SIGMA), r"it\.npz: sigma is no covariance: must be"),
    ],
)
def test_what_is_no_statistics_is_one_line(tmp_path, capsys, name, make, message):
    make(tmp_path / name)
    with pytest.raises(UserError, match=message) as error:
        read_statistics(tmp_path / name, 6)
    assert "\n" not in str(error.value) and "unpickled" not in capsys.readouterr().out


# Aggregates and tables


def test_tables_show_what_is_unknown_as_nothing(tmp_path):
    entries = [entry("A"), entry("E")]
    for run, fid in zip(entries, (80.0, 50.0), strict=True):
        score = score_row(run, fid=fid, reference="adm.npz") | dict.fromkeys(UNKNOWN)
        write_rows(write_run(tmp_path, run) / f"samples/{PROTOCOL}" / SCORE_FILE, COLUMNS, [score])
    tables = aggregate.aggregate(write_plan(tmp_path / "plan.json", entries), tmp_path)
    aggregate.write(tables, tmp_path)
    fid = aggregate.read_table(tmp_path / "fid.csv", "fid")
    assert fid[list(UNKNOWN)].isna().all(axis=None) and fid["reference"].tolist() == ["adm.npz"] * 2
    runs = aggregate.read_table(tmp_path / "runs.csv", "runs")
    table = paper.tables.table1({**tables, "runs": runs, "fid": fid, "cost": None})
    lines = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [line["FD (EfficientNet-Lite0)"] for line in lines] == ["80.00", "50.00"]
    assert [line["KD ×10³"] for line in lines] == ["—", "—"]
    assert lines[1]["change vs A"] == "−37.5 %"
    assert list(table.footer) == []
    notes = " ".join(table.notes)
    assert "reference adm.npz; lower is better" in notes and "no kernel distance and no floor" in notes
    assert "Real images:" not in notes


def test_a_missing_kernel_distance_is_otherwise_an_error(tmp_path):
    write_rows(
        write_run(tmp_path, entry()) / f"samples/{PROTOCOL}" / SCORE_FILE, COLUMNS, [score_row(entry(), kid=None)]
    )
    with pytest.raises(UserError, match=r"kid of .*: found nothing: must be a finite number"):
        aggregate.aggregate(write_plan(tmp_path / "plan.json", [entry()]), tmp_path)


# Names


def experiment(reference=None, resolution=8):
    return Experiment({
        "data": {"name": "digits", "source": "mnist", "resolution": resolution},
        "training": {"steps": 100}, "learning_rates": {"A": 1e-3},
        "scoring": {"features": "efficientnet-lite0", "reference": reference},
        "experiments": {"a": {"model": "DiT-Nano/4", "config": "A", "modulation": "scale_shift", "seed": 0}},
    })  # fmt: skip


def test_names_change_with_what_a_reference_is_made_from():
    made = [experiment(), experiment("x/adm.npz"), experiment("y/adm.npz"), experiment("x/adm.npz", 16)]
    assert len({each.reference_name for each in made}) == len({each.score_file for each in made}) == 4
    assert made[0].reference_name == made[0].data_name and made[0].score_file == "fid-efficientnet-lite0.csv"
    assert made[1].reference_name.startswith("adm.npz-") and made[1].score_file.startswith(
        "fid-efficientnet-lite0-adm.npz-"
    )
    assert experiment("a b/train-*.parquet").reference_name.startswith("train_.parquet-")
    assert [run.name for run in made[0].runs.values()] == [run.name for run in made[1].runs.values()]
    assert (made[0].statistics, made[1].statistics, experiment("a.zip").statistics) == ([], ["x/adm.npz"], [])
