"""Commands called in this process, with what most tests leave as it is filled in."""

from pathlib import Path

from mpdit.__main__ import main


def build_reference(
    data: str, output: Path, *, count: int = 10, features: str = "efficientnet-lite0", **options: object
) -> int:
    """The exit status of `mpdit reference` on DATA_JSON; `options` become `--key value`."""
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    fixed = ["--features", features, "--count", str(count), "--output", str(output)]
    return main(["reference", data, *fixed, *words])
