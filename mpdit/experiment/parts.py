"""What a configuration is made of: the registry of parts, the package's own and those of a study.

A part has a kind, a name, a version, options, and a factory that makes it. A kind has the name of the field of a
configuration that chooses among its parts, but for `modulation`, which is an axis of its own. What the factory of each
kind receives and returns is in `mpdit.model.building`.

The package's own parts are named here, so that a study can be checked without torch; `mpdit.model` provides their
factories. Those of a study come from its `study.py`, where factories import torch inside (`mpdit.study`).

Torch-free: Snakemake imports this module each time it parses the workflow.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any, TypeVar

from ..system.errors import UserError
from .study_file import line_of_study, registry

# Names of the package's own parts, by kind. All are at version 1.
SHIPPED: dict[str, tuple[str, ...]] = {
    "attention": ("dot_product", "cosine"),
    "sums": ("plain", "mp"),
    "activation": ("silu", "mp_silu", "mp_leaky_relu"),
    "norm": ("layer", "none"),
    "block": ("dit",),
    "modulation": ("scale", "shift", "scale_shift", "rotate", "scale_rotate", "rotate_full"),
}
KINDS = tuple(SHIPPED)

Factory = TypeVar("Factory", bound=Callable[..., Any])
Identity = dict[str, dict[str, Any]]  # by kind: name, version and options of a part


@dataclass(frozen=True)
class Part:
    """A registered part."""

    kind: str
    name: str
    version: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)  # JSON values, passed to the factory by keyword
    factory: Callable[..., Any] | None = None  # None: one of the package's own, before `mpdit.model` is imported
    source: str = ""  # file and line where a study registers it; empty: the package's own

    @property
    def is_shipped(self) -> bool:
        return not self.source

    @property
    def identity(self) -> dict[str, Any]:
        """What of the part enters the names of runs that use it."""
        options = {"options": dict(self.options)} if self.options else {}
        return {"name": self.name, "version": self.version, **options}


PARTS: dict[str, dict[str, Part]] = {
    kind: registry({name: Part(kind, name) for name in names}) for kind, names in SHIPPED.items()
}


# ---------------------------------------------------------------------------------------------------------------------
# Registering


def register(kind: str, name: str, *, version: int, **options: Any) -> Callable[[Factory], Factory]:
    """Register the decorated factory as the part `name` of a study; called as factory(context, **options).

    `version` and options enter the names of runs that use the part, code does not: raise the version when the part
    computes something else. Raises UserError for a name that is taken or is no name, and for a version or options that
    cannot be stored.
    """
    frame = sys._getframe(1)
    source = line_of_study(frame.f_code.co_filename, frame.f_lineno)
    where = f"{kind} {name!r}"
    if not isinstance(name, str) or not re.fullmatch(r"\w+", name):
        raise UserError(f"{where}: expected a name of letters, digits and underscores")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UserError(f"{where}: version: expected a whole number of at least 1, got {version!r}")
    if name in PARTS[kind]:
        taken = PARTS[kind][name]
        raise UserError(f"{where}: the name is taken, by {taken.source or 'the package itself'}; choose another name")
    try:
        options = json.loads(json.dumps(options, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: options: expected numbers, texts, lists and mappings ({error})") from None

    def add(factory: Factory) -> Factory:
        try:
            signature(factory).bind("context", **options)
        except TypeError as error:
            raise UserError(f"{where}: expected a function of the context and of the options: {error}") from None
        PARTS[kind][name] = Part(kind, name, version, options, factory, source)
        return factory

    return add


def provide(kind: str, name: str) -> Callable[[Factory], Factory]:
    """Register the decorated factory as that of the package's own part `name`."""

    def add(factory: Factory) -> Factory:
        PARTS[kind][name] = replace(PARTS[kind][name], factory=factory)
        return factory

    return add


# ---------------------------------------------------------------------------------------------------------------------
# Looking up


def names(kind: str) -> tuple[str, ...]:
    """Names of all parts of a kind: the package's own, then those of the study."""
    return tuple(PARTS[kind])


def modulations() -> tuple[str, ...]:
    """Names of all modulations: the package's own, then those of the study."""
    return names("modulation")


def find(kind: str, name: str) -> Part:
    """The part `name` of a kind. Raises UserError, one line, where it is not registered."""
    if not isinstance(name, str) or name not in PARTS[kind]:
        raise UserError(
            f"{kind} {name!r}: expected one of {', '.join(PARTS[kind])}; a part of your own needs the study.py that "
            f"registers it (--study FILE, or study=FILE in Python)"
        )
    return PARTS[kind][name]


def chosen(fields: Mapping[str, Any], modulation: str) -> dict[str, str]:
    """The names of the parts, by kind, of a configuration with these fields and of a modulation."""
    return {**{kind: fields[kind] for kind in KINDS if kind in fields}, "modulation": modulation}


def used(fields: Mapping[str, Any], modulation: str) -> dict[str, Part]:
    """The same as registered parts. Raises UserError for one that is not registered."""
    return {kind: find(kind, name) for kind, name in chosen(fields, modulation).items()}


def identities(fields: Mapping[str, Any], modulation: str) -> Identity:
    """By kind, what enters the name of a run that uses these parts: nothing for version 1 of the package's own."""
    parts = used(fields, modulation).items()
    return {kind: part.identity for kind, part in parts if not (part.is_shipped and part.version == 1)}


def require_recorded(recorded: Identity, fields: Mapping[str, Any], modulation: str) -> None:
    """Raise UserError, one line, unless `recorded` has the version of every part that is not the package's own.

    The parts need not be registered.
    """
    for kind, name in chosen(fields, modulation).items():
        if name not in SHIPPED[kind] and kind not in recorded:
            raise UserError(
                f"{kind}: expected one of {', '.join(SHIPPED[kind])}, or a part under `parts`, got {name!r}"
            )
        if kind in recorded and recorded[kind]["name"] != name:
            raise UserError(f"parts.{kind}.name: expected {name}, got {recorded[kind]['name']!r}")


def require(recorded: Identity, fields: Mapping[str, Any], modulation: str) -> None:
    """Raise UserError, one line, unless the registered parts are those that a run or a model was made with.

    `recorded` is what `identities` gave when it was made with these fields and this modulation.
    """
    for kind, part in used(fields, modulation).items():
        before = recorded.get(kind, {"name": part.name, "version": 1})
        if part.identity != before or (kind not in recorded and not part.is_shipped):
            words = "one of the package's own" if kind not in recorded else _in_words(before)
            raise UserError(
                f"{kind} {part.name!r}: made with {words}, but {part.source or 'this package'} has "
                f"{_in_words(part.identity)}; expected the study.py that it was made with"
            )


def in_words(identity: Identity) -> str:
    """Parts with their versions and where they are registered: `norm rms (version 2, study.py, line 5)`."""
    sources = {kind: PARTS[kind][part["name"]].source for kind, part in identity.items() if part["name"] in PARTS[kind]}
    return ", ".join(
        f"{kind} {part['name']} ({_in_words(part)}, {sources.get(kind) or 'the package itself'})"
        for kind, part in identity.items()
    )


def _in_words(identity: Mapping[str, Any]) -> str:
    values = identity.get("options", {}).items()
    options = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values)
    return f"version {identity['version']}{f' and {options}' if options else ''}"
