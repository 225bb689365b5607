"""What a study's own file, `study.py`, registers with; `mpdit.paper` registers the paper's study with the same.

    from mpdit import study

    @study.norm("rms", version=1)
    def root_mean_square(context):
        from mpdit.model.attention import unit_magnitude

        return unit_magnitude

A part has a version, and options if it has any (`version=1, slope=0.2`), which enter the names of runs that use it.
Raise the version when the part computes something else, and those runs are trained anew; the code itself enters no
names. What a factory receives and returns is in `mpdit.model.building`. Snakemake reads the file before every job, so
torch, pandas and matplotlib are imported inside functions.
"""

from functools import partial

from .experiment import parts
from .experiment.features import features
from .rendering.registry import ArtifactData, claim, figure, introduction, published_setting, table

attention = partial(parts.register, "attention")
sums = partial(parts.register, "sums")
activation = partial(parts.register, "activation")
norm = partial(parts.register, "norm")
block = partial(parts.register, "block")
modulation = partial(parts.register, "modulation")

__all__ = [
    "ArtifactData", "activation", "attention", "block", "claim", "features", "figure", "introduction", "modulation",
    "norm", "published_setting", "sums", "table",
]  # fmt: skip
