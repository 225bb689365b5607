"""Pictures that are never trained on, on which the held-out loss is measured.

`data.holdout` withholds a number of pictures per class, which `sources.open_source` then leaves out, or names other
pictures, such as ImageNet's validation set. Mirrored pictures are not among them.
"""

from dataclasses import replace

from ..experiment.schema import Data
from ..system.errors import UserError
from .sources import PictureSource, open_whole_source, other_data, withheld_pictures


def heldout_data(data: Data) -> Data:
    """The `data` section by which the held-out pictures of `data` are encoded. Raises UserError where it has none."""
    if data.holdout is None:
        raise UserError("data.holdout: null; expected a number of pictures per class, or the path of other pictures")
    if isinstance(data.holdout, int):
        return data.model_copy(update={"flips": "none"})
    return other_data(data, data.holdout).model_copy(update={"flips": "none"})


def heldout_source(data: Data) -> PictureSource:
    """The held-out pictures of `data`, in order.

    Raises UserError where there are none, where too few pictures would be left to train on, and for other pictures
    whose classes, or numbers of channels, are not those of the pictures that are trained on.
    """
    whole = open_whole_source(data)
    if isinstance(data.holdout, int):
        return replace(whole, selected=withheld_pictures(whole, data.holdout))
    heldout = open_whole_source(heldout_data(data))
    if list(heldout.classes) != list(whole.classes):
        differences = sorted(set(heldout.classes) ^ set(whole.classes))
        problem = f"class {differences[0]} is in one of them alone" if differences else "their order differs"
        raise UserError(
            f"data.holdout: {heldout.location}: its classes are not those of {whole.location}, in the same order: "
            f"{problem}"
        )
    if heldout.channels != whole.channels:
        raise UserError(
            f"data.holdout: {heldout.location}: its pictures have {heldout.channels} channels, those of "
            f"{whole.location} have {whole.channels}"
        )
    return heldout
