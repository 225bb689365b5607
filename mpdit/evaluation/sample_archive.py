"""samples.npz: the images drawn from a run, in the layout that the ADM evaluator reads.

`arr_0`, uint8 (N, H, W, 3), holds the images and `labels`, int64 (N,), their classes.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..experiment.remedies import remedy
from ..system.errors import UserError
from ..system.files import replacing
from ..system.seals import require_intact
from .npz import read_npz


@contextmanager
def sample_writer(path: str | Path, labels: NDArray[np.int64]) -> Iterator[Callable[[NDArray[np.uint8]], int]]:
    """Write `labels` (N,) and then images to `path` batch by batch, with no more than one batch in memory.

    Yields a function that appends images, uint8 (B, H, W, 3), and returns the number of images written so far. Exactly
    N images of one size are expected; another number is a ValueError. Members carry no date, so the same images give
    the same bytes.
    """
    path, written = Path(path), 0
    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        with archive.open(zipfile.ZipInfo("labels.npy"), "w") as file:
            npy.write_array(file, labels)
        with archive.open(zipfile.ZipInfo("arr_0.npy"), "w", force_zip64=True) as file:

            def append(images: NDArray[np.uint8]) -> int:
                nonlocal written
                if written == 0:
                    header = {"descr": "|u1", "fortran_order": False, "shape": (len(labels), *images.shape[1:])}
                    npy.write_array_header_1_0(file, header)
                file.write(images.tobytes())
                written += len(images)
                return written

            yield append
        if written != len(labels):
            raise ValueError(f"{path}: {written} images for {len(labels)} labels")


def read_samples(path: str | Path) -> NDArray[np.uint8]:
    """The images of a samples.npz, uint8 (N, H, W, 3); N is 0 for a run that diverged.

    Raises UserError if the file is missing, damaged, or holds anything but such images.
    """
    require_intact(path, remedy(path))
    arrays = read_npz(path)
    if "arr_0" not in arrays:
        raise UserError(f"{path}: no array 'arr_0': it must hold the images, uint8 (N, H, W, 3)")
    images = arrays["arr_0"]
    if images.dtype.name != "uint8" or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"{path}: arr_0 is {images.dtype} {images.shape}: must be uint8 (N, H, W, 3)")
    return images
