"""Scores that claims compare: by seed, each letter at its own EMA width, and learning rates.

FIDs of other counts, samplers, steps or features never meet: there is a finding for each way images were drawn.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

from ...results import significance as inference
from ...results import summary
from .. import table_format as tables
from ..protocol_words import shared_protocol
from .evidence import INF, Finding, Side, members, of_seeds, standing, told

DRAWING = [key for key in summary.PROTOCOL if key != "ema_width"]
USUAL_WIDTH = "0.05"  # the paper's


def final_scores(runs, fid):
    """Rows of fid.csv of trained runs at their last step."""
    ends = runs[["run"]].assign(training_steps=runs["steps"], status=runs["status"])
    fid = fid.assign(ema_width=fid["ema_width"].map(_width)).merge(ends, on="run")
    return fid[(fid["step"] == fid["training_steps"]) & (fid["status"] == "trained")]


def _width(value) -> str:
    return "none" if value != value or value == "none" else f"{float(value):g}"


def score(ours: Side, base: Side, difference: str, fid_only: bool = False) -> Callable:
    """Score of `ours` against that of `base`: `ratio` (a logarithm) or `points`, by seed.

    Where samples are fewer than features it is KID's, else FID's. `fid_only`: the claim is a size of FID, which neither
    KID nor the distance of other features can bear out.
    """
    return partial(_score, ours, base, difference, fid_only)


def _score(ours: Side, base: Side, difference: str, fid_only: bool, study: Mapping, model: str, data: str):
    (first, lacking), (second, also) = (members(study, model, data, side) for side in (ours, base))
    if lacking or also:
        return [Finding(missing=" and ".join(filter(None, (lacking, also))))]
    if set(first["run"]) == set(second["run"]):
        return [Finding(missing=f"runs of {ours.words} at a rate of its own")]
    setting = told((ours, first), (base, second))
    seeds = sorted(set(first["seed"]) & set(second["seed"]))
    scored = study["final"][study["final"]["run"].isin([*first["run"], *second["run"]])]
    findings = []
    for _, drawn in scored.groupby(DRAWING, sort=False, dropna=False):
        metric, label = _metric(drawn)
        sides = [_by_seed(drawn, runs, metric) for runs in (first, second)]
        gone = [set(runs.loc[runs["status"] == "diverged", "seed"]) for runs in (first, second)]
        infinite = [INF for seed in seeds if seed in gone[0] and seed in sides[1].index]
        infinite += [-INF for seed in seeds if seed in gone[1] and seed in sides[0].index]
        width, fixed = _at_fixed_width(*sides)
        both = fixed or set(sides[0].index) & set(sides[1].index)
        chosen, pairs = _at_chosen_widths(*sides, [seed for seed in seeds if seed in both])
        if not pairs:
            chosen, pairs = width, fixed
        if not pairs and not infinite:
            continue
        values = [_difference(list(zip(*pair, strict=True)), difference, metric) for pair in pairs.values()]
        beside = [_difference(list(zip(*pair, strict=True)), difference, metric) for pair in fixed.values()]
        single = [[_difference([[a], [b]], difference, metric) for a, b in pair] for pair in pairs.values()]
        lacks = ""
        if any(math.isnan(value) for value in values):
            lacks = f"more samples: {label} is not above zero, so it has no ratio"
        elif metric == "fid" and _deficient(drawn):
            lacks = f"more samples than features, or KID beside: {label} is biased"
        elif fid_only and label != "FID":
            lacks = f"FID, of Inception's features and more samples than those: {label} decides no size of FID"
        findings.append(
            Finding(
                setting=setting + of_seeds(len(values) + len(infinite), first, second),
                values=(*values, *infinite),
                lacks=lacks,
                metric=label,
                protocol=shared_protocol(drawn, leave_out=("ema_width",)),
                ema_width=chosen,
                sampling_error=math.nan if lacks else inference.sampling_error(single),
                sampling_seeds=min(map(len, single), default=0),
                fixed_width=width if fixed else "",
                fixed=tuple(beside),
            )
        )
    if not findings:
        waits = standing((ours, first), (base, second))
        return [Finding(setting=setting, missing=f"scores of the last step on shared seeds{waits}")]
    return findings


def _metric(drawn) -> tuple[str, str]:
    """fid, or kid where samples are fewer than features (as far as there is one); and its name."""
    from ...experiment.metric_names import metric_label

    metric = "kid" if _deficient(drawn) and drawn["kid"].notna().any() else "fid"
    return metric, metric_label(drawn["features"].iloc[0], metric)


def _deficient(drawn) -> bool:
    return drawn["fid_rank_deficient"].astype(str).eq("True").any()


def _by_seed(drawn, runs, metric: str):
    """Scores of the runs: a row a seed, columns (EMA width, sampling seed)."""
    rows = drawn[drawn["run"].isin(runs["run"])]
    return rows.pivot(index="seed", columns=["ema_width", "sampling_seed"], values=metric)


def _pairs(first, second, seed: int, columns) -> list[tuple[float, float]]:
    """Scores of both sides at the same sampling seeds; `columns` pairs the columns."""
    found = [(first.loc[seed, a], second.loc[seed, b]) for a, b in columns]
    return [(a, b) for a, b in found if a == a and b == b]


def _at_fixed_width(first, second) -> tuple[str, dict[int, list]]:
    """The width that both share, 0.05 if there, and the scores by seed; nothing where there are several others."""
    shared = [column for column in first if column in second]
    widths = sorted({width for width, _ in shared})
    width = USUAL_WIDTH if USUAL_WIDTH in widths else widths[0] if len(widths) == 1 else ""
    columns = [(column, column) for column in shared if column[0] == width]
    pairs = {seed: _pairs(first, second, seed, columns) for seed in first.index.intersection(second.index)}
    return width, {seed: pair for seed, pair in pairs.items() if pair}


def _at_chosen_widths(first, second, seeds: list[int]) -> tuple[str, dict[int, list]]:
    """Scores with each side at the EMA width that is best for it on the other sampling seeds than the one reported.

    For each sampling seed the width is that of the lowest mean over the training seeds and all other sampling seeds.
    Only where at least 2 widths were sampled with the same 2 sampling seeds or more, on every one of `seeds`: else
    nothing. Also the widths in words.
    """
    first, second = first.reindex(seeds), second.reindex(seeds)
    whole = [
        column for column in first if column in second and first[column].notna().all() and second[column].notna().all()
    ]
    draws = {width: {draw for other, draw in whole if other == width} for width, _ in whole}
    draws = {width: found for width, found in draws.items() if len(found) > 1}
    shared = sorted(set.intersection(*draws.values())) if draws else []
    if not seeds or len(draws) < 2 or len(shared) < 2:
        return "", {}
    chosen = [{draw: _best_width(side, sorted(draws), shared, draw) for draw in shared} for side in (first, second)]
    columns = [((chosen[0][draw], draw), (chosen[1][draw], draw)) for draw in shared]
    words = " and ".join(dict.fromkeys("/".join(sorted(set(widths.values()))) for widths in chosen))
    return f"{words}, chosen", {seed: _pairs(first, second, seed, columns) for seed in seeds}


def _best_width(side, widths: list[str], draws: list[int], reported: int) -> str:
    """The width of the lowest mean score over training seeds on the sampling seeds other than the one reported."""
    others = [draw for draw in draws if draw != reported]
    return min(widths, key=lambda width: side[[(width, draw) for draw in others]].to_numpy().mean())


def _difference(sides: list, difference: str, metric: str) -> float:
    """Of the means of both sides over sampling seeds: a logarithm, or points (of KID: thousandths)."""
    first, second = (sum(values) / len(values) for values in sides)
    if difference == "points":
        return (first - second) * (1000 if metric == "kid" else 1)
    return math.log(first / second) if min(first, second) > 0 else math.nan


# ---------------------------------------------------------------------------------------------------------------------
# Learning rates


def best_rates(ours: str, base: str) -> Callable:
    """Ratio of the two letters' best learning rates, among those swept (a logarithm), with scale + shift."""
    return partial(_best_rates, ours, base)


def _best_rates(ours: str, base: str, study: Mapping, model: str, data: str):
    runs = study["runs"]
    runs = runs[(runs["model"] == model) & (runs["data"] == data) & (runs["modulation"] == "scale_shift")]
    swept = {letter: runs[runs["config"] == letter] for letter in (ours, base)}
    few = [letter for letter, rows in swept.items() if rows["lr"].nunique() < 2]
    if few:
        return [Finding(missing=f"runs of {' and of '.join(few)} at several learning rates")]
    scored = study["final"][study["final"]["run"].isin([*swept[ours]["run"], *swept[base]["run"]])]
    findings = []
    for _, drawn in scored.groupby(DRAWING, sort=False, dropna=False):
        metric, label = _metric(drawn)
        sweeps = {letter: _sweep(drawn, rows, metric) for letter, rows in swept.items()}
        if all(scores and set.intersection(*map(set, scores.values())) for scores in sweeps.values()):
            findings.append(_rate_ratio(sweeps, label, drawn))
    waits = standing(*((Side(letter), rows) for letter, rows in swept.items()))
    return findings or [
        Finding(missing=f"scores of the last step at two rates of each letter {waits and f'({waits})'}")
    ]


def _sweep(drawn, runs, metric: str) -> dict[float, dict[int, float]]:
    """Scores at the usual EMA width by rate and seed, on the sampling seeds that all share; infinite where diverged."""
    rows = drawn[drawn["run"].isin(runs["run"])]
    widths = rows["ema_width"].unique()
    width = USUAL_WIDTH if USUAL_WIDTH in widths else widths[0] if len(widths) == 1 else ""
    rows = rows[rows["ema_width"] == width]
    draws = rows.groupby("run")["sampling_seed"].agg(set)
    rows = rows[rows["sampling_seed"].isin(set.intersection(*draws))] if len(draws) else rows
    scores = {lr: part.groupby("seed")[metric].mean().to_dict() for lr, part in rows.groupby("lr")}
    for lr, seed in runs.loc[runs["status"] == "diverged", ["lr", "seed"]].itertuples(index=False):
        scores.setdefault(lr, {})[seed] = INF
    return dict(sorted(scores.items())) if len(scores) > 1 and draws.size else {}


def _rate_ratio(sweeps: Mapping, label: str, drawn) -> Finding:
    """From each letter's set of rates that may be the best, at 97.5 % each so that both together have 95 %."""
    seeds, best, sets = [], {}, {}
    for letter, scores in sweeps.items():
        shared = set.intersection(*map(set, scores.values()))
        means = {lr: sum(found[seed] for seed in shared) / max(len(shared), 1) for lr, found in scores.items()}
        best[letter] = min(means, key=means.get)
        seeds.append(len(shared))
        may = inference.maybe_best(scores, inference.LEVEL / 2)
        # A best rate at an end of the sweep may have a better one beyond.
        sets[letter] = (
            0.0 if min(may) == min(scores) else min(may),
            INF if max(may) == max(scores) else max(may),
        )
    ours, base = sweeps
    lacks = [
        f"{letter} swept {where} {tables.rate(edge(sweeps[letter]))}"
        for letter in sweeps
        for where, bound, edge in (("below", sets[letter][0], min), ("above", sets[letter][1], max))
        if bound in (0.0, INF)
    ]
    low = sets[ours][0] / sets[base][1] if sets[base][1] else 0.0
    high = sets[ours][1] / sets[base][0] if sets[base][0] else INF
    told = "; ".join(f"{letter} at {', '.join(map(tables.rate, scores))}" for letter, scores in sweeps.items())
    return Finding(
        setting=f"{told}: best {' and '.join(tables.rate(best[letter]) for letter in sweeps)}",
        interval=(math.log(best[ours] / best[base]), math.log(low) if low > 0 else -INF, math.log(high)),
        seeds=min(seeds),
        lacks=" and ".join(lacks),
        metric=label,
        protocol=shared_protocol(drawn, leave_out=("ema_width",)),
        ema_width=USUAL_WIDTH if USUAL_WIDTH in set(drawn["ema_width"]) else drawn["ema_width"].iloc[0],
    )
