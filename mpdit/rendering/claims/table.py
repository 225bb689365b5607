"""The table of verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .. import number_format as fmt
from ..deciding_metric import TOO_FEW_SAMPLES
from ..names import joined
from ..registry import ArtifactData, Claim, Unit
from ..table_format import Table
from ..tuning_notes import tuning_note
from .controls import failed_controls
from .settings import NO_SETTINGS, StudySettings, without_controls
from .verdicts import Verdict, verdict_frame, verdicts

UNIT_WORDS: dict[Unit, str] = {"%": " %", "×": "×", "points": " points"}


@dataclass(frozen=True)
class Column:
    heading: str
    width: float  # on paper, relative to the others
    cell: Callable[[Verdict], str]
    is_needed: Callable[[Sequence[Verdict]], bool] = lambda printed: True


def claims_table(claims: Iterable[Claim], data: ArtifactData) -> Table:
    """The verdict on each claim, with what would decide it and the notes that explain the tests.

    The CSV has a row for every claim and model; the printed table has those that were run, and a claim that was not run
    at all once.
    """
    every, settings = verdicts(claims, data), data.get("settings", NO_SETTINGS)
    printed = _printed(every)
    columns = [column for column in COLUMNS if column.is_needed(printed)]
    return Table(
        frame=verdict_frame(every),
        header=[column.heading for column in columns],
        rows=[[column.cell(verdict) or fmt.NONE for column in columns] for verdict in printed],
        notes=_notes(every, settings),
        above=_above(every, data, settings),
        numeric=["n"],
        wrap=[column.width for column in columns],
    )


def _printed(every: Sequence[Verdict]) -> list[Verdict]:
    run = {verdict.claim.name for verdict in every if verdict.was_run}
    printed: dict[str, list[Verdict]] = {}
    for verdict in every:
        of_claim = printed.setdefault(verdict.claim.name, [])
        if verdict.was_run or (verdict.claim.name not in run and not of_claim):
            of_claim.append(verdict)
    return [verdict for of_claim in printed.values() for verdict in of_claim]


# ---------------------------------------------------------------------------------------------------------------------
# Cells


def _sentence(verdict: Verdict) -> str:
    """The claim, followed by its bounds where the sentence does not determine them."""
    claim = verdict.claim
    if not claim.reason:
        return verdict.sentence
    low, high = (_number(bound, claim.unit) for bound in (claim.low, claim.high))
    if math.isinf(claim.high):
        within = f"above {low}"
    elif math.isinf(claim.low):
        within = f"below {high}"
    else:
        within = f"{low} to {high}"
    return f"{verdict.sentence} ({within}{UNIT_WORDS[claim.unit]})"


def _verdict(verdict: Verdict) -> str:
    return f"**{verdict.outcome}**" if verdict.outcome in ("holds", "fails") else verdict.outcome


def _setting(verdict: Verdict) -> str:
    finding = verdict.finding
    scored = f"{finding.metric_label}, EMA width {finding.ema_width}" if finding.ema_width else ""
    return "; ".join(filter(None, (finding.setting, scored)))


def _ours(verdict: Verdict) -> str:
    return _interval(verdict, verdict.ours)


def _at_one_width(verdict: Verdict) -> str:
    return _interval(verdict, verdict.fixed) if verdict.finding.widths_chosen else ""


def _interval(verdict: Verdict, interval: tuple[float, float, float]) -> str:
    """`−12.8 % (−14.1 to −11.5)`; empty without an estimate."""
    if math.isnan(interval[0]):
        return ""
    unit, metric = verdict.claim.unit, verdict.finding.metric
    estimate, low, high = (_number(value, unit) for value in interval)
    known = not math.isnan(interval[1]) and interval[1] != interval[2]
    words = UNIT_WORDS[unit]
    if unit == "points" and metric and metric.label != "FID":
        words = f" {metric.name} ×10³" if metric.is_kernel_distance else f" {metric.name}"
    return f"{estimate}{words}" + (f" ({low} to {high})" if known else "")


def _number(value: float, unit: Unit) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.3g}" if unit == "×" else f"{value:+.1f}" if unit == "%" else f"{value:+.2f}"
    return text.replace("-", "−")


def _what_would_decide(verdict: Verdict) -> str:
    return "; ".join(filter(None, (verdict.remark, verdict.decides)))


def _has_several_models(printed: Sequence[Verdict]) -> bool:
    return len({verdict.model for verdict in printed}) > 1


def _has_chosen_widths(printed: Sequence[Verdict]) -> bool:
    return any(verdict.finding.widths_chosen for verdict in printed)


def _has_families(printed: Sequence[Verdict]) -> bool:
    return len({verdict.family for verdict in printed}) > 1


def _has_several_protocols(printed: Sequence[Verdict]) -> bool:
    return len({verdict.finding.protocol for verdict in printed} - {""}) > 1


COLUMNS = (
    Column("claim", 0.2, _sentence),
    Column("model", 0.09, lambda verdict: verdict.model, _has_several_models),
    Column("paper", 0.11, lambda verdict: verdict.claim.published),
    Column("ours (95 % interval)", 0.14, _ours),
    Column("at one EMA width", 0.14, _at_one_width, _has_chosen_widths),
    Column("n", 0.035, lambda verdict: fmt.value(verdict.n) if verdict.n else ""),
    Column("family", 0.09, lambda verdict: verdict.family, _has_families),
    Column("verdict", 0.11, _verdict),
    Column("setting", 0.18, _setting),
    Column("protocol", 0.2, lambda verdict: verdict.finding.protocol, _has_several_protocols),
    Column("what would decide it", 0.17, _what_would_decide),
)


# ---------------------------------------------------------------------------------------------------------------------
# Notes


def _families_note(every: Sequence[Verdict]) -> str:
    """` over the 12 tests here`, or the number of tests of each family."""
    tests = {verdict.family: verdict.tests for verdict in every if verdict.tests}
    if not tests:
        return " over all tests"
    if len(tests) == 1:
        return f" over the {fmt.plural(next(iter(tests.values())), 'test')} here"
    primary, exploratory = (fmt.plural(tests[family], f"{family} test") for family in ("primary", "exploratory"))
    return f", over {primary} and over {exploratory} apart"


def _above(every: Sequence[Verdict], data: ArtifactData, settings: StudySettings) -> list[str]:
    """What a reader must know before any verdict."""
    sentences = failed_controls(data)
    sentences += [tuning_note(without_controls(data["runs"], settings).to_dict("records"))]
    if settings.changed and settings.primary:
        sentences.append(
            "All claims are exploratory, since the study is not what was fixed before its first run (study-lock.json). "
            f"Changed: {'; '.join(settings.changed)}."
            if settings.lock_hash
            else "All claims are exploratory, since nothing was fixed before the first run (study-lock.json)."
        )
    return [sentence for sentence in sentences if sentence and any(verdict.was_run for verdict in every)]


def _notes(every: Sequence[Verdict], settings: StudySettings) -> list[str]:
    findings = [verdict.finding for verdict in every]
    models = list(dict.fromkeys(f"{verdict.model} on {verdict.data}" for verdict in every if verdict.model))
    notes = [f"Runs: {joined(models)}." if models else "There are no runs yet."]
    protocols = {finding.protocol for finding in findings} - {""}
    if len(protocols) == 1:
        notes.append(f"Scores: {protocols.pop()}.")
    notes += [
        "Ours: mean over n seeds with its 95 % interval, from Student's t on differences paired by seed, because the "
        "runs of a seed share batches, noise and label dropout. Percentages and factors are means of log-ratios. The "
        "setting names the metric that decides.",
        f"Verdicts are at the 5 % level after Holm's correction{_families_note(every)}. A size or a margin "
        "holds if two one-sided tests place it inside the bounds (equivalence), and fails if it is outside. One seed "
        "decides nothing; five give a useful interval (Student's t falls from 12.7 to 2.8). What is counted needs no "
        "seeds; step times and best rates have intervals of their own, which are tested and corrected like the rest.",
    ]
    if any(verdict.family == "primary" for verdict in every):
        notes.append(
            "Primary claims were named before the first run; exploratory ones suggest what another study may decide."
        )
    elif not settings.primary:  # where primary claims have lost their rank, that stands above the table
        notes.append("All claims are exploratory: none was named primary before the first run.")
    if any(verdict.outcome == "withheld" for verdict in every):
        notes.append("Withheld: the comparison is not fair as it was run, so its numbers decide nothing.")
    if any(verdict.outcome == "interim" for verdict in every):
        notes.append("Interim: runs are missing, so nothing is decided yet.")
    if any(finding.divergences for finding in findings):
        notes.append(
            "Where runs diverged only how often they did is compared (Fisher's exact test), never the scores of those "
            "that are left."
        )
    if any(finding.kind == "held-out loss" for finding in findings):
        notes.append(
            "Held-out loss: of the reporting part of the held-out images; the standard error of images, each with all "
            "its draws, is added in quadrature to that of seeds."
        )
    if settings.lock_hash and not settings.changed:
        notes.append(f"Settings were fixed before the first run (study-lock.json, {settings.lock_hash}).")
    if any(finding.widths_chosen for finding in findings):
        fixed = ", ".join(sorted({finding.fixed_width for finding in findings} - {""}))
        notes.append(
            "EMA widths are chosen per configuration, on other sampling seeds than those reported; next to it, one "
            f"width for all ({fixed})."
        )
    if any(finding.metric and finding.metric.is_kernel_distance for finding in findings):
        notes.append(
            f"Where there are {TOO_FEW_SAMPLES} the kernel distance decides, since the Fréchet distance is biased."
        )
    if any(verdict.within_sampling_error for verdict in every):
        notes.append(
            "Within the sampling error: other sampling seeds, at the same number of samples, could move the value as "
            "far as the bound."
        )
    if any(finding.kind == "best rates" for finding in findings):
        notes.append(
            "Best rates: from the rate below the lowest to the rate above the highest of those that no other beats "
            "(paired t-tests, 95 % for both configurations together). The interval is open where a sweep ends."
        )
    if any(finding.kind == "magnitude" for finding in findings):
        notes.append(
            "Magnitudes: means over noise levels at the EMA width that was traced, from initialization to the last "
            "step; means over blocks, unless the claim names one. Weights as stored, before any normalization."
        )
    run = {verdict.claim.name for verdict in every if verdict.was_run}
    if any(not verdict.was_run and verdict.claim.name in run for verdict in every):
        notes.append("Claims that were tested on one model and not on another are listed for both in the CSV.")
    return notes
