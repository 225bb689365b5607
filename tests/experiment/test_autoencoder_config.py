"""What an autoencoder's config.json says without the autoencoder."""

import pytest
from helpers.autoencoders import save_autoencoder

from mpdit.experiment.autoencoder_config import downsampling, known_downsampling, read_autoencoder_config
from mpdit.system.errors import UserError


@pytest.mark.parametrize("class_name", ["AutoencoderKL", "AutoencoderTiny"])
def test_pixels_per_latent_are_known_of_a_local_folder(tmp_path, class_name):
    assert known_downsampling(save_autoencoder(tmp_path / "vae", class_name)) == 8


def test_pixels_per_latent_are_known_of_a_hub_id_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--some--vae" / "snapshots" / "abc"
    save_autoencoder(snapshot)
    (tmp_path / "models--some--vae" / "refs").mkdir()
    (tmp_path / "models--some--vae" / "refs" / "main").write_text("abc")
    assert known_downsampling("some/vae") == 8


def test_what_is_not_at_hand_is_unknown(tmp_path):
    assert known_downsampling(str(tmp_path)) is None
    assert known_downsampling("a/b/c") is None  # no name that the hub may have
    assert downsampling(None, {}) is None
    assert downsampling("AutoencoderKL", {"block_out_channels": 4}) is None


def test_a_damaged_config_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json: not valid JSON"):
        read_autoencoder_config(str(tmp_path))
