"""What the paper trained. Its numbers are printed next to such runs only, and only where they were also sampled and
scored as in the paper (`scores.PAPER_PROTOCOL`)."""

from ..experiment.run_spec import RunSpec
from ..experiment.schema import Training
from ..study import published_setting

# The autoencoder is the one that every branch of the authors' code names.
PAPER_DATA = {"name": "imagenet128", "resolution": 128, "autoencoder": "sd-vae-ft-mse", "holdout": None}
# Fields of `training`, at their defaults. The other fields do not change what is learned, only how it is computed.
PAPER_RECIPE = (
    "steps", "batch_size", "schedule", "warmup_steps", "decay_start", "betas", "label_dropout", "gradient_clip",
)  # fmt: skip
PAPER_RATES = {"A": 1e-4, "B": 1e-4, "C": 1e-2, "D": 1e-2, "E": 1e-2}


@published_setting
def is_in_paper_setting(run: RunSpec) -> bool:
    """Whether a run is one of the paper's: its data as latents, its recipe, and its learning rate for the config."""
    recipe = {name: Training.model_fields[name].default for name in PAPER_RECIPE}
    return (
        all(getattr(run.data, name) == value for name, value in PAPER_DATA.items())
        and all(getattr(run.training, name) == value for name, value in recipe.items())
        and run.lr == PAPER_RATES.get(run.config)
    )
