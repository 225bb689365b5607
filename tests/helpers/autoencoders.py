"""Narrow autoencoders with random weights, of the geometry of the real ones."""

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

SCALING, SHIFT = 0.5, 0.25


def build(kind, channels=3, **config):
    """A narrow autoencoder with random weights; 8 times down, as the SD-VAE."""
    torch.manual_seed(0)
    config = {"scaling_factor": SCALING, "shift_factor": SHIFT} | config
    if kind == "AutoencoderTiny":
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


def saved(folder, kind="AutoencoderKL", **config):
    build(kind, **config).save_pretrained(folder)
    return str(folder)
