"""What is known of an autoencoder without loading it, from its config.json. Torch-free, and nothing is downloaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..system.files import read_json

# Class of diffusers: the key of its config whose list has one entry per resolution
BLOCKS = {"AutoencoderKL": "block_out_channels", "AutoencoderTiny": "encoder_block_out_channels"}
AUTOENCODERS = tuple(BLOCKS)


def read_autoencoder_config(name: str) -> Mapping[str, Any] | None:
    """The config.json in the local folder `name`, or of the hub id `name` in the hub's cache; None where it is unknown.

    Raises UserError for a file that is not JSON.
    """
    local = Path(name, "config.json")
    if local.is_file():
        return _mapping(read_json(local))
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # not a name that the hub may have
        return None
    return _mapping(read_json(cached)) if isinstance(cached, str) else None


def downsampling(class_name: object, config: Mapping[str, Any]) -> int | None:
    """Pixels per latent along each side, of an autoencoder of this class and config; None where that is unknown."""
    blocks = config.get(BLOCKS[class_name]) if isinstance(class_name, str) and class_name in BLOCKS else None
    return 2 ** (len(blocks) - 1) if isinstance(blocks, list | tuple) and blocks else None


def known_downsampling(name: str) -> int | None:
    """Pixels per latent of the autoencoder `name`, where `read_autoencoder_config` knows it."""
    config = read_autoencoder_config(name)
    return None if config is None else downsampling(config.get("_class_name"), config)


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None
