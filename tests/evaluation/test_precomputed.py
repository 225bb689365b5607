"""Precomputed statistics of the ADM evaluator and of torch-fidelity, read without unpickling anything but arrays."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics
from torch_fidelity.utils import cache_lookup_one_recompute_on_miss

from mpdit.evaluation.precomputed import read_statistics
from mpdit.system.errors import UserError

FEATURES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
MU, SIGMA = FEATURES.astype(np.float64).mean(axis=0), np.cov(FEATURES.astype(np.float64), rowvar=False)


def write_adm(path, **changes):
    """A reference batch of the ADM evaluator: images and spatial statistics beside. The images cannot be read here."""
    arrays = {"arr_0": np.array([{"not": "to be read"}]), "mu": MU, "sigma": SIGMA, "mu_s": MU[:3]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_torch_fidelity(path):
    """Statistics as torch-fidelity itself caches them."""
    cache = {"cache": True, "cache_root": str(path.parent), "verbose": False}
    cache_lookup_one_recompute_on_miss(
        path.stem, lambda: fid_features_to_statistics(torch.from_numpy(FEATURES)), **cache
    )
    return path


@pytest.mark.parametrize(("write", "name"), [(write_adm, "adm.npz"), (write_torch_fidelity, "digits-stat-fid-2048.pt")])
def test_statistics_of_other_tools_are_read(tmp_path, write, name):
    mu, sigma = read_statistics(write(tmp_path / name), 6)
    assert mu.dtype == sigma.dtype == np.float64
    np.testing.assert_allclose(mu, MU, rtol=1e-5)
    np.testing.assert_allclose(sigma, SIGMA, rtol=1e-5, atol=1e-7)


class Malicious:
    def __reduce__(self):
        return print, ("unpickled",)


def write_single_array(path):
    with open(path, "wb") as file:
        np.save(file, MU)


def adm_with(**changes):
    return lambda path: write_adm(path, **changes)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("it.npz", lambda path: None, r"it\.npz: no such file$"),
        ("it.pt", lambda path: None, r"it\.pt: no such file$"),
        ("it.npz", lambda path: path.write_text("x"), r"it\.npz: damaged, or not an \.npz file of arrays"),
        ("it.npz", write_single_array, r"it\.npz: damaged, or not an \.npz file of arrays"),
        ("it.pt", lambda path: path.write_text("x"), r"it\.pt: not a file of arrays: must be torch-fidelity's"),
        ("it.pt", lambda path: torch.save({"mu": Malicious()}, path), r"it\.pt: not a file of arrays: must be"),
        ("it.pt", lambda path: torch.save([MU, SIGMA], path), r"it\.pt: not a file of arrays: must be"),
        ("it.npz", adm_with(mu=None), r"it\.npz: no array 'mu': must be precomputed statistics, mu and sigma$"),
        ("it.npz", adm_with(sigma=None), r"it\.npz: no array 'sigma'"),
        ("it.npz", adm_with(mu=MU[:5]), r"it\.npz: mu is float64 \(5,\): must be floats \(6,\) for these features"),
        ("it.npz", adm_with(sigma=SIGMA[0]), r"it\.npz: sigma is float64 \(6,\): must be floats \(6, 6\)"),
        ("it.npz", adm_with(mu=np.array(["a"] * 6)), r"it\.npz: mu is <U1 \(6,\): must be floats"),
        ("it.npz", adm_with(mu=MU * np.nan), r"it\.npz: mu has values that are not finite"),
        ("it.npz", adm_with(sigma=SIGMA + np.triu(np.ones((6, 6)), 1)), r"it\.npz: sigma is not a covariance"),
        ("it.npz", adm_with(sigma=-SIGMA), r"it\.npz: sigma is not a covariance"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, capsys, name, write, message):
    write(tmp_path / name)
    with pytest.raises(UserError, match=message) as error:
        read_statistics(tmp_path / name, 6)
    assert "\n" not in str(error.value) and "unpickled" not in capsys.readouterr().out
