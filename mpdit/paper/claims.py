"""The paper's claims as data, and the table of verdicts. To add a claim is one entry of `CLAIMS`."""

import math
from collections.abc import Mapping

from ..rendering import table_format as tables
from ..rendering.claims.evidence import Side, parameters, step_time
from ..rendering.claims.scores import best_rates, score
from ..rendering.claims.traces import growth, highest, peak, traced
from ..rendering.claims.verdicts import Claim, verdicts
from ..rendering.registry import table
from .tables import PAPER_FID

A, C, D, E = (Side(letter) for letter in "ACDE")
ROTATE, SCALE = Side("E", "scale_rotate"), Side("E", "scale")
E_AT_RATE_OF_A, A_AT_RATE_OF_E = Side("E", rate_of="A"), Side("A", rate_of="E")


def _given(model: str, *sides: Side) -> str:
    """The paper's own numbers of these sides: `70.86 and 72.03 (DiT-S/2)`."""
    return f"{' and '.join(f'{PAPER_FID[model, side.config, side.modulation]:.2f}' for side in sides)} ({model})"


CLAIMS = (
    # Scores
    Claim("preservation", "E has a lower FID than A", "lower", score(E, A, "ratio"), "%", high=0.0),
    Claim(
        "preservation-size", "E's FID is about 12.8 % below A's", "−12.8 %", score(E, A, "ratio", fid_only=True), "%",
        -19.2, -6.4, "about: half of 12.8 % either way",
    ),
    Claim(
        "forcing-score", "Forced weight normalization alone costs a little: D has a higher FID than C",
        _given("DiT-XS/2", D, C), score(D, C, "ratio"), "%", low=0.0,
    ),
    Claim(
        "shift-over-rotation", "With E, scale + shift has a lower FID than scale + rotate",
        _given("DiT-S/2", E, ROTATE), score(E, ROTATE, "points"), "points", high=0.0,
    ),
    Claim(
        "rotation-over-scale", "With E, scale + rotate has a lower FID than scale alone",
        _given("DiT-S/2", ROTATE, SCALE), score(ROTATE, SCALE, "points"), "points", high=0.0,
    ),
    Claim(
        "rotation-margin", "With E, scale + rotate is within 2 points of scale + shift", _given("DiT-S/2", ROTATE, E),
        score(ROTATE, E, "points", fid_only=True), "points", -2.0, 2.0,
    ),
    # Accounting
    Claim(
        "rotation-parameters", "Scale + rotate has about 5.4 % fewer parameters than scale + shift", "−5.4 %",
        parameters(ROTATE, E), "%", -6.4, -4.4, "about: a point either way, since sizes differ in the heads' share",
    ),
    Claim(
        "time-textbook", "E's step takes about 8.5 % longer than A's, in the textbook form", "+8.5 %",
        step_time("E", "textbook"), "%", 4.0, 13.0, "about: 4.5 % either way, on another machine",
    ),
    Claim(
        "time-cheap", "E's step takes less than the paper's 8.5 % longer, in the cheap form", "+8.5 % (textbook)",
        step_time("E", "cheap"), "%", high=8.5,
    ),
    # Learning rates
    Claim(
        "rates-ratio", "E's best learning rate is about 100 times A's", "1e-2 and 1e-4", best_rates("E", "A"), "×",
        10**1.5, 10**2.5, "about: half a decade either way",
    ),
    Claim(
        "rates-mp", "At A's learning rate E has a higher FID than at its own", "stalls at 1e-4",
        score(E_AT_RATE_OF_A, E, "ratio"), "%", low=0.0,
    ),
    Claim(
        "rates-baseline", "At E's learning rate A has a higher FID than at its own", "1e-4",
        score(A_AT_RATE_OF_E, A, "ratio"), "%", low=0.0,
    ),
    # Magnitudes
    Claim(
        "growth-a", "A's residual stream grows over training", "0.5 to 4.0", traced("A", growth("stream")), "×",
        low=2.0, reason="a doubling: beyond what the bound of C and E allows",
    ),
    Claim(
        "bound-c", "C's residual stream stays bounded", "bounded", traced("C", peak("stream")), "×", high=2.0,
        reason="never twice what it is at initialisation",
    ),
    Claim(
        "bound-e", "E's residual stream stays bounded", "bounded", traced("E", peak("stream")), "×", high=2.0,
        reason="never twice what it is at initialisation",
    ),
    Claim(
        "growth-a-c", "A's residual stream grows more than C's", "0.5 to 4.0; bounded",
        traced("A", growth("stream"), "C"), "×", low=1.0,
    ),
    Claim(
        "growth-a-e", "A's residual stream grows more than E's", "0.5 to 4.0; bounded",
        traced("A", growth("stream"), "E"), "×", low=1.0,
    ),
    Claim(
        "spikes", "D's magnitude spikes at the MLP's input", "spikes", traced("D", peak("mlp input", "stream")), "×",
        low=1.5, reason="at its highest block half as much again as the residual stream",
    ),
    Claim(
        "spikes-norm", "LayerNorm makes D's spike: E, without it, has a lower one", "from its LayerNorm",
        traced("D", highest("mlp input"), "E"), "×", low=1.0,
    ),
    Claim(
        "weights-c", "Without forced normalization weights grow (C)", "grow", traced("C", growth("weights")), "×",
        low=1.05, reason="by 5 % or more: what averaging over steps takes off is less",
    ),
    Claim(
        "weights-d", "Forced normalization keeps weights at their norm (D)", "bounded", traced("D", growth("weights")),
        "×", 0.99, 1.01, "up to a hundredth",
    ),
)  # fmt: skip


@table(
    "claims",
    experiments=(),
    reads=("runs", "fid", "magnitudes", "cost"),
    caption="What these runs say to the paper's claims.",
)
def claims(data):
    frame = verdicts(CLAIMS, data)
    run = frame["verdict"] != "not run"
    waiting = ~frame["claim"].isin(frame.loc[run, "claim"]) & ~frame.duplicated("claim")
    printed = frame[run | waiting]
    columns = {
        "claim": (0.2, _sentence),
        "model": (0.09, lambda line: line["model"]),
        "paper": (0.11, lambda line: line["paper"]),
        "ours (95 % interval)": (0.14, lambda line: _interval(line, "ours", "low", "high")),
        "at one EMA width": (0.14, lambda line: _at_one_width(line)),
        "n": (0.035, lambda line: tables.value(line["n"]) if line["n"] else ""),
        "verdict": (0.11, lambda line: _verdict(line["verdict"])),
        "setting": (0.18, _setting),
        "protocol": (0.2, lambda line: line["protocol"]),
        "what would decide it": (0.17, lambda line: "; ".join(filter(None, (line["remark"], line["decides"])))),
    }
    told = printed.loc[run]
    for head, needed in {
        "model": printed["model"].nunique() > 1,
        "at one EMA width": told["ema_width"].str.contains("chosen").any(),
        "protocol": told["protocol"].replace("", float("nan")).nunique() > 1,
    }.items():
        if not needed:
            del columns[head]
    lines = printed.to_dict("records")
    return tables.Table(
        frame=frame,
        header=list(columns),
        rows=[[cell(line) or tables.NONE for _, cell in columns.values()] for line in lines],
        notes=_notes(frame),
        wrap=[width for width, _ in columns.values()],
    )


def _sentence(line: Mapping) -> str:
    """The claim, with the bounds that a rule gives to its words."""
    low, high = (_number(line[key], line["unit"]) for key in ("holds_above", "holds_below"))
    if not line["reason"]:
        return line["sentence"]
    name = {"%": " %", "×": "×", "points": " points"}[line["unit"]]
    within = f"above {low}" if math.isinf(line["holds_below"]) else f"below {high}"
    within = within if math.isinf(line["holds_above"] - line["holds_below"]) else f"{low} to {high}"
    return f"{line['sentence']} ({within}{name})"


def _verdict(verdict: str) -> str:
    return f"**{verdict}**" if verdict in ("holds", "fails") else verdict


def _setting(line: Mapping) -> str:
    scored = f"{line['metric']}, EMA width {line['ema_width']}" if line["ema_width"] else ""
    return "; ".join(filter(None, (line["setting"], scored)))


def _at_one_width(line: Mapping) -> str:
    return _interval(line, "fixed_ours", "fixed_low", "fixed_high") if "chosen" in line["ema_width"] else ""


def _interval(line: Mapping, *keys: str) -> str:
    """`−12.8 % (−14.1 to −11.5)`."""
    unit = line["unit"]
    if line[keys[0]] != line[keys[0]]:
        return ""
    mean, low, high = (_number(line[key], unit) for key in keys)
    if line[keys[1]] == line[keys[2]] or line[keys[1]] != line[keys[1]]:
        bounds = ""
    else:
        bounds = f" ({low} to {high})"
    name = {"%": " %", "×": "×", "points": " points"}[unit]
    if unit == "points" and not line["metric"].startswith("FID"):
        name = f" {line['metric'].split()[0]}" + " ×10³" * line["metric"].startswith("K")
    return f"{mean}{name}{bounds}"


def _number(value: float, unit: str) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.3g}" if unit == "×" else f"{value:+.1f}" if unit == "%" else f"{value:+.2f}"
    return text.replace("-", "−")


def _notes(frame) -> list[str]:
    protocols = [protocol for protocol in frame["protocol"].unique() if protocol]
    places = " and ".join(f"{model} on {data}" for model, data in frame[["model", "data"]].drop_duplicates().to_numpy())
    told = [f"Runs: {places}."] if len(frame) and frame["model"].any() else ["There is no run yet."]
    told += [f"Scores: {protocols[0]}."] if len(protocols) == 1 else []
    tests = int(frame["p"].notna().sum())
    corrected = f"the {tests} tests here" if tests else "all tests"
    told += [
        "Ours: mean over n seeds with its 95 % interval, Student's t on differences paired by seed, because runs of a "
        "seed share batches, noise and label dropout; percentages and factors are of log-ratios.",
        f"Verdicts: at 5 % after Holm's correction over {corrected}; a size or a margin holds where two "
        "one-sided tests place it inside (equivalence), fails where it lies outside. One seed decides nothing, 5 "
        "make an interval of use (Student's t falls from 12.7 to 2.8); what is counted needs none, and step times have "
        "an interval of their own (the sign test over rounds).",
    ]
    if frame["ema_width"].str.contains("chosen").any():
        told.append(
            "EMA widths: chosen per letter on the other sampling seeds than those reported; beside it one width "
            f"for all ({', '.join(sorted(set(frame['fixed_width']) - {''}))})."
        )
    if frame["metric"].str.startswith("K").any():
        told.append(
            "Where samples are fewer than features the kernel distance decides, since the Fréchet distance is biased."
        )
    if frame["remark"].str.contains("sampling error").any():
        told.append(
            "Within the sampling error: other sampling seeds at the same count would move it as far as the bound."
        )
    run = frame["verdict"] != "not run"
    if (run & frame["claim"].eq("rates-ratio")).any():
        told.append(
            "Best rates: of those swept, those that no other beats (paired t-tests, 95 % for both letters together); "
            "the best one at the end of a sweep leaves the interval open."
        )
    if (run & frame["metric"].eq("magnitude")).any():
        told.append(
            "Magnitudes: means over blocks and noise levels (of the MLP's input: the highest block), at the EMA width "
            "that was traced, from initialisation to the last step."
        )
    if (~run & frame["claim"].isin(frame.loc[run, "claim"])).any():
        told.append("Claims that were not run on one model but on another stand in the CSV for both.")
    return told
