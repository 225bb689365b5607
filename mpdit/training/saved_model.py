"""The model that a run leaves at its end, for `mpdit.DiT.from_pretrained`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file

from ..experiment.run_files import MODEL_CONFIG, MODEL_WEIGHTS
from ..system.files import replacing
from .sealed_tensors import save_sealed
from .trainer import Trainer


@torch.no_grad()
def save_model(trainer: Trainer, folder: Path) -> None:
    """Write config.json and model.safetensors for `DiT.from_pretrained`: the EMA of the first width, renormalized.

    This replaces the trainer's weights: it ends the training.
    """
    averages = trainer.ema.averages[trainer.training.ema_widths[0]]
    for name, parameter in trainer.parameters.items():
        parameter.data = averages[name].clone()  # memory of its own: safetensors saves no views
    trainer.model.normalize_weights()
    with TemporaryDirectory(prefix=".model-", dir=folder) as temporary:
        trainer.model.save_pretrained(temporary)
        with replacing(folder / MODEL_WEIGHTS, sealed=False) as part:
            metadata = {"format": "pt", "run": trainer.spec.name, "step": str(trainer.step)}
            save_sealed(load_file(Path(temporary) / MODEL_WEIGHTS), part, metadata)
        with replacing(folder / MODEL_CONFIG) as part:
            part.write_bytes((Path(temporary) / MODEL_CONFIG).read_bytes())
