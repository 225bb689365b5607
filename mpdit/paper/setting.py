"""What the paper trained. Its numbers are printed only beside such runs, and only where they were also sampled and
scored as in the paper (`tables.PAPER_PROTOCOL`)."""

from ..experiment.grid import SECTIONS, Run
from ..experiment.published import published_setting

PAPER_DATA = {"name": "imagenet128", "resolution": 128}
# Fields of `training`, at their defaults. The other fields do not change what is learned, only how it is computed.
PAPER_RECIPE = (
    "steps", "batch_size", "schedule", "warmup_steps", "decay_start", "betas", "label_dropout", "gradient_clip",
)  # fmt: skip
PAPER_RATES = {"A": 1e-4, "B": 1e-4, "C": 1e-2, "D": 1e-2, "E": 1e-2}


@published_setting
def is_in_paper_setting(run: Run) -> bool:
    """Whether a run is one of the paper's: its data as latents, its recipe, and its learning rate for the config."""
    recipe = {field: SECTIONS["training"][field][1] for field in PAPER_RECIPE}
    return (
        all(run.data[key] == value for key, value in PAPER_DATA.items())
        and run.data["autoencoder"] is not None
        and all(_as_list(run.training[field]) == _as_list(value) for field, value in recipe.items())
        and run.lr == PAPER_RATES.get(run.config)
    )


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
