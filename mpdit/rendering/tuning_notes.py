"""Whether configurations that are compared were tuned alike, in a sentence made from runs.csv."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .names import joined, modulation_name

# How a rate was chosen (`experiment.rates`): what a sentence says of it.
WORDS = {
    "edge": "the search ended at an edge, so a better rate may lie beyond it",
    "horizon": "the rate was tuned for another number of steps",
    "other": "the rate was tuned for other data or another recipe, or the study uses another rate than the one found",
    "given": "the rate is a number of the configuration file, not the outcome of a search",
}


def tuning_note(runs: Iterable[Mapping[Any, Any]]) -> str:
    """What a reader must know before comparing these runs, rows of runs.csv; empty if all were tuned alike.

    Alike means that each learning rate is the outcome of a search for just this setting that ended inside its range,
    and that all searches tried the same number of rates. Where a configuration was also run at other rates, those that
    `learning_rates` gives it count.
    """
    settings: dict[tuple[str, str, str], list[Mapping[Any, Any]]] = {}
    for run in runs:
        settings.setdefault((str(run["model"]), str(run["config"]), str(run["modulation"])), []).append(run)
    if len(settings) < 2:
        return ""
    names = _names(settings)
    used = {
        setting: [row for row in rows if row["standard_lr"] in (True, "True")] or rows
        for setting, rows in settings.items()
    }
    of_kind: dict[str, list[str]] = {}
    of_number: dict[int, list[str]] = {}
    for setting, rows in used.items():
        for kind in dict.fromkeys(_kind(row) for row in rows):
            of_kind.setdefault(kind, []).append(names[setting])
        for number in {int(row["tuning_rates"]) for row in rows if _kind(row) != "given" and _is_number(row)}:
            of_number.setdefault(number, []).append(names[setting])
    reasons = [f"{joined(who)}: {WORDS[kind]}" for kind, who in of_kind.items() if kind in WORDS]
    if len(of_number) > 1:
        tried = [f"{joined(who)} with {number} rates" for number, who in sorted(of_number.items())]
        reasons.append(f"searches differ in length: {', '.join(tried)}")
    if not reasons:
        return ""
    first = "Learning rates were not tuned" if set(of_kind) == {"given"} else "Not tuned alike"
    return f"{first}, so differences may be due to learning rates. {'. '.join(map(_sentence, reasons))}."


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _kind(row: Mapping[Any, Any]) -> str:
    kind = row.get("tuning")
    return kind if isinstance(kind, str) and kind else "given"


def _is_number(row: Mapping[Any, Any]) -> bool:
    value = row.get("tuning_rates")
    return value is not None and value == value and value != ""


def _names(settings: Collection[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """A name for each setting that says no more than what tells them apart."""
    several_models = len({model for model, _, _ in settings}) > 1
    several_modulations = len({modulation for _, _, modulation in settings}) > 1
    return {
        (model, config, modulation): " ".join(
            [
                *([model] if several_models else []),
                f"Config {config}",
                *([f"with {modulation_name(modulation)}"] if several_modulations else []),
            ]
        )
        for model, config, modulation in settings
    }
