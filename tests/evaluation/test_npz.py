"""Arrays of .npz files that are damaged in ways numpy does not expect."""

import io
import zipfile

import numpy as np
import pytest

from mpdit.evaluation.npz import read_npz
from mpdit.system.errors import UserError


def npz_with_header(path, header: str):
    """An .npz file whose one array has this header."""
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    content = array.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content[:10] + header.encode().ljust(117) + b"\n" + content[128:])
    return path


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8'[ 'fortran_order': False, 'shape': (3,), }", "damaged, or not an .npz file of arrays"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "damaged, or not an .npz file of arrays"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }", "damaged, or not an .npz file of arrays"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (10**17,), }", "damaged, or not an .npz file of arrays"),
        (
            f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**50},), }}",
            "needs more memory than there is, or is",
        ),
    ],
)
def test_damaged_arrays_are_one_line(tmp_path, header, message):
    path = npz_with_header(tmp_path / "it.npz", header)
    with pytest.raises(UserError, match=message) as error:
        read_npz(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
