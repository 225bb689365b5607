"""A manifest.json of latents, as JSON has it."""

MANIFEST = {
    "version": 1, "name": "x", "source": {"kind": "zip", "path": "x.zip", "fingerprint": "f", "class_order": "sorted"},
    "count": 2, "skipped": [], "shape": [4, 2, 2], "classes": ["a", "b"], "resolution": 16, "filter": "box",
    "crop": "center", "flips": "none",
    "autoencoder": {"id": "vae", "class": "AutoencoderKL", "hash": "h", "scaling_factor": 0.5, "shift_factor": 0.0},
    "posterior": True, "dtype": "float16", "channel_mean": [0.0] * 4, "channel_std": [1.0] * 4, "fingerprint": "ff",
}  # fmt: skip
