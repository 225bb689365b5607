"""Narrow autoencoders with random weights, of the geometry of the real ones: an eighth of the size, 4 channels."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

SCALING, SHIFT = 0.5, 0.25


def make_autoencoder(class_name: str = "AutoencoderKL", channels: int = 3, **config: Any) -> Any:
    """A narrow autoencoder whose weights depend on its arguments only."""
    torch.manual_seed(0)
    config = {"scaling_factor": SCALING, "shift_factor": SHIFT} | config
    if class_name == "AutoencoderTiny":
        blocks, widths = (1,) * 4, (8,) * 4
        return AutoencoderTiny(
            encoder_block_out_channels=widths,
            decoder_block_out_channels=widths,
            num_encoder_blocks=blocks,
            num_decoder_blocks=blocks,
            **config,
        )
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        **config,
    )


def save_autoencoder(folder: Path, class_name: str = "AutoencoderKL", **config: Any) -> str:
    """Save such an autoencoder to a folder, whose path is returned as a data section names it."""
    make_autoencoder(class_name, **config).save_pretrained(folder)
    return str(folder)
