"""What the fields of a configuration may be.

A kind takes a raw value (YAML's, or a text from `--config`) and gives the checked one, or raises ValueError with what
it must be: the sentence then reads "FIELD: found VALUE, must be ...".
"""

import math
from collections.abc import Callable
from typing import Any

Kind = Callable[[Any], Any]


def integer(low: int, high: int | None = None) -> Kind:
    def check(value):
        bounds = f"a whole number of at least {low}" + ("" if high is None else f" and at most {high}")
        number = _number(value, bounds)
        if number != int(number) or number < low or (high is not None and number > high):
            raise ValueError(bounds)
        return int(number)

    return check


def real(low: float, high: float = math.inf, *, above: bool = False, below: bool = False) -> Kind:
    """A finite number from `low` to `high`; `above` and `below` leave the ends out."""

    def check(value):
        bounds = f"a number {'above' if above else 'of at least'} {low:g}"
        if high < math.inf:
            bounds += f" and {'below' if below else 'at most'} {high:g}"
        number = _number(value, bounds)
        if not low <= number <= high or (above and number == low) or (below and number == high) or number == math.inf:
            raise ValueError(bounds)
        return number

    return check


def choice(*allowed: str) -> Kind:
    def check(value):
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return check


def text(value) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def slug(value) -> str:
    value = text(value)
    if not all(character.isalnum() or character in "_." for character in value):
        raise ValueError("a name of letters, digits, underscores and dots")
    return value


def boolean(value) -> bool:
    table = {True: True, False: False, "true": True, "True": True, "false": False, "False": False}
    if not isinstance(value, bool | str) or value not in table:
        raise ValueError("true or false")
    return table[value]


def optional(kind: Kind) -> Kind:
    def check(value):
        if value is None or value in ("null", "none", "None"):
            return None
        try:
            return kind(value)
        except ValueError as error:
            raise ValueError(f"{error}, or null") from None

    return check


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list of the kind; a single value stands for a list of one."""

    def check(value):
        values = value if isinstance(value, list | tuple) else [value]
        if not values or (length is not None and len(values) != length):
            raise ValueError(f"a list of {length if length is not None else 'one or more'}")
        checked = [kind(item) for item in values]
        if length is None and len(set(checked)) != len(checked):
            raise ValueError("a list without repeats")
        return checked

    return check


def _number(value, bounds: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(bounds)
    try:
        number = float(value)  # YAML reads 1e-4 as a text, and so does `--config`
    except ValueError:
        raise ValueError(bounds) from None
    if number != number:
        raise ValueError(bounds)
    return number
