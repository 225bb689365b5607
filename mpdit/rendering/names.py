"""What readers call modulations, configurations and the states of runs."""

from collections.abc import Sequence

MODULATION_NAMES = {"scale_shift": "scale + shift", "scale_rotate": "scale + rotate", "rotate_full": "full rotation"}


def modulation_name(modulation: str) -> str:
    """`scale + shift` for `scale_shift`."""
    return MODULATION_NAMES.get(modulation, modulation)


def joined(words: Sequence[str]) -> str:
    """`A, B and C`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
