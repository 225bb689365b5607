"""`import mpdit` is fast, and its public names are there."""

import subprocess
import sys

import pytest

import mpdit


def test_importing_the_package_loads_neither_torch_nor_numpy():
    code = "import mpdit, sys; assert not {'torch', 'numpy', 'mpdit.model'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_imported_on_first_use():
    assert mpdit.DiT.__module__ == "mpdit.model.dit"
    assert all(hasattr(mpdit, name) for name in mpdit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Dit'"):
        mpdit.Dit  # noqa: B018
