"""Numbers as tables print them. NaN is printed as a dash."""

NONE = "—"  # nothing to show


def spread(mean: float, sd: float = float("nan"), bold: bool = False, digits: int = 2) -> str:
    """`69.28` or, with a standard deviation, `69.28 ± 0.41`."""
    if mean != mean:
        return NONE
    mark = "**" if bold else ""
    return f"{mark}{mean:.{digits}f}{mark}".replace("-", "−") + (f" ± {sd:.{digits}f}" if sd == sd else "")


def percent(change: float) -> str:
    """`−12.8 %`, always with its sign."""
    return NONE if change != change else f"{change:+.1f} %".replace("-", "−")


def percent_range(change: float, low: float, high: float) -> str:
    """`−12.8 % (−14.1 to −11.5)`."""
    return NONE if change != change else f"{change:+.1f} % ({low:+.1f} to {high:+.1f})".replace("-", "−")


def signed(difference: float) -> str:
    """`+0.52`, always with its sign."""
    return NONE if difference != difference else f"{difference:+.2f}".replace("-", "−")


def p_value(p: float) -> str:
    """`0.034`, `< 0.001`."""
    if p != p:
        return NONE
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def significant(number: float) -> str:
    """Three significant digits: `0.0123`, `12.3`, `1,230`."""
    if number != number:
        return NONE
    return f"{number:,.0f}" if number >= 100 else f"{number:#.3g}"


def times(ratio: float) -> str:
    """`1.05×`."""
    return NONE if ratio != ratio else f"{ratio:.2f}×"


def rate(lr: float) -> str:
    """A learning rate as papers write it: `1e-4`, `2.5e-3`."""
    if lr != lr:
        return NONE
    mantissa, exponent = f"{lr:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def value(number_or_name: float | str) -> str:
    """Any value of a protocol: `ddpm`, `1,000`, `1.5`."""
    if isinstance(number_or_name, str):
        return number_or_name
    return NONE if number_or_name != number_or_name else f"{number_or_name:,.10g}"


def parameters(number: float) -> str:
    """A number of parameters: `32.96 M`, `312 K`."""
    if number != number:
        return NONE
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} K"


def plural(count: float, noun: str) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{count:,.0f} {noun}" if count == 1 else f"{count:,.0f} {noun}s"
