"""The paper's claims, and those that extend them.

Each is a sentence, the quantity that tests it, and the bounds between which it must be. {metric} in a sentence stands
for the metric that decides.
"""

from __future__ import annotations

from ..rendering.claims.accounting import parameters, step_time
from ..rendering.claims.evidence import Side
from ..rendering.claims.losses import loss
from ..rendering.claims.rates import best_rates
from ..rendering.claims.scores import score
from ..rendering.claims.traces import (
    ACROSS_BLOCKS,
    CORRELATED,
    MLP_INPUT,
    PLAIN_WEIGHTS,
    STREAM,
    WEIGHTS,
    final,
    growth,
    peak,
    traced,
)
from ..study import claim
from .scores import PAPER_FID

A, B, C, D, E, E_LEAKY = (Side(config) for config in ("A", "B", "C", "D", "E", "E-leaky"))
ROTATE, SCALE = Side("E", "scale_rotate"), Side("E", "scale")
ROTATE_PAIRS, ROTATE_FULL = Side("E", "rotate"), Side("E", "rotate_full")
E_AT_RATE_OF_A, A_AT_RATE_OF_E = Side("E", rate_of="A"), Side("A", rate_of="E")


def _published(model: str, *sides: Side) -> str:
    """The paper's own numbers for these sides, such as `70.86 and 72.03 (DiT-S/2)`."""
    return f"{' and '.join(f'{PAPER_FID[model, side.config, side.modulation]:.2f}' for side in sides)} ({model})"


# Scores
claim(
    "preservation", "Config E has a lower {metric} than Config A",
    score(E, A, "ratio"), "%", high=0.0, published="lower",
)  # fmt: skip
claim(
    "preservation-size", "The FID of Config E is about 12.8 % below that of Config A",
    score(E, A, "ratio", fid_only=True), "%", low=-19.2, high=-6.4, published="−12.8 %",
    reason="about: half of 12.8 % either way",
)  # fmt: skip
claim(
    "forcing-score", "Forced weight normalization alone costs a little: Config D has a higher {metric} than Config C",
    score(D, C, "ratio"), "%", low=0.0, published=_published("DiT-XS/2", D, C),
)  # fmt: skip
claim(
    "shift-over-rotation", "With Config E, scale + shift has a lower {metric} than scale + rotate",
    score(E, ROTATE, "points"), "points", high=0.0, published=_published("DiT-S/2", E, ROTATE),
)  # fmt: skip
claim(
    "rotation-over-scale", "With Config E, scale + rotate has a lower {metric} than scale alone",
    score(ROTATE, SCALE, "points"), "points", high=0.0, published=_published("DiT-S/2", ROTATE, SCALE),
)  # fmt: skip
claim(
    "rotation-margin", "With Config E, the FID of scale + rotate is within 2 points of that of scale + shift",
    score(ROTATE, E, "points", fid_only=True), "points", low=-2.0, high=2.0,
    published=_published("DiT-S/2", ROTATE, E),
)  # fmt: skip

# Accounting
claim(
    "rotation-parameters", "Scale + rotate has about 5.4 % fewer parameters than scale + shift",
    parameters(ROTATE, E), "%", low=-6.4, high=-4.4, published="−5.4 %",
    reason="about: one percentage point either way, since the share of the heads depends on the model size",
)  # fmt: skip
claim(
    "time-textbook", "In the textbook form, a step of Config E takes about 8.5 % longer than one of Config A",
    step_time("E", "textbook"), "%", low=4.0, high=13.0, published="+8.5 %",
    reason="about: 4.5 percentage points either way, for a different machine",
)  # fmt: skip
claim(
    "time-cheap", "In the cheap form, a step of Config E takes less than 8.5 % longer than one of Config A",
    step_time("E", "cheap"), "%", high=8.5, published="+8.5 % (textbook)",
)  # fmt: skip

# Learning rates
claim(
    "rates-ratio", "By {metric}, the best learning rate of Config E is about 100 times that of Config A",
    best_rates("E", "A"), "×", low=10**1.5, high=10**2.5, published="1e-2 and 1e-4",
    reason="about: half a decade either way",
)  # fmt: skip
claim(
    "rates-mp", "At the learning rate of Config A, Config E has a higher {metric} than at its own",
    score(E_AT_RATE_OF_A, E, "ratio"), "%", low=0.0, published="stalls at 1e-4",
)  # fmt: skip
claim(
    "rates-baseline", "At the learning rate of Config E, Config A has a higher {metric} than at its own",
    score(A_AT_RATE_OF_E, A, "ratio"), "%", low=0.0, published="1e-4",
)  # fmt: skip

# Magnitudes
claim(
    "growth-a", "The residual stream of Config A grows over training",
    traced("A", growth(STREAM)), "×", low=2.0, published="0.5 to 4.0",
    reason="a doubling: more than the bound for Configs C and E allows",
)  # fmt: skip
claim(
    "growth-a-blocks", "The residual stream of Config A grows from the first block to the last",
    traced("A", final(ACROSS_BLOCKS)), "×", low=2.0,
    reason="a doubling, after training: more than the bound for Configs C and E allows",
)  # fmt: skip
for config in "CE":
    claim(
        f"bound-{config.lower()}", f"The residual stream of Config {config} stays bounded",
        traced(config, peak(STREAM)), "×", high=2.0, published="bounded",
        reason="never twice its magnitude at initialization",
    )  # fmt: skip
    claim(
        f"bound-{config.lower()}-blocks", f"The residual stream of Config {config} stays bounded across blocks",
        traced(config, final(ACROSS_BLOCKS)), "×", high=2.0, published="bounded",
        reason="after the last block not twice what enters the first, after training",
    )  # fmt: skip
for config in "CE":
    claim(
        f"growth-a-{config.lower()}", f"The residual stream of Config A grows more than that of Config {config}",
        traced("A", growth(STREAM), config), "×", low=1.0, published="0.5 to 4.0; bounded",
    )  # fmt: skip
    claim(
        f"growth-a-{config.lower()}-blocks",
        f"From the first block to the last, the residual stream of Config A grows more than that of Config {config}",
        traced("A", final(ACROSS_BLOCKS), config), "×", low=1.0,
    )  # fmt: skip
for config in "CE":
    claim(
        f"correlated-{config.lower()}", f"Config {config} preserves magnitude under correlated inputs",
        traced(config, final(CORRELATED)), "×", low=0.5, high=2.0,
        reason="after training, within a factor of 2 of the residual stream on independent inputs",
    )  # fmt: skip
claim(
    "spikes", "In Config D, the magnitude spikes at the input of the MLP",
    traced("D", final(MLP_INPUT)), "×", low=1.5, published="spikes",
    reason="after training, in its highest block, half as much again as the residual stream of that block",
)  # fmt: skip
claim(
    "spikes-norm", "LayerNorm causes the spike of Config D: without it, that of Config E is lower",
    traced("D", final(MLP_INPUT), "E"), "×", low=1.0, published="from its LayerNorm",
)  # fmt: skip
claim(
    "weights-c", "Without forced normalization, weights grow (Config C)",
    traced("C", growth(WEIGHTS)), "×", low=1.05, published="grow",
    reason="by 5 % or more: averaging over steps takes off less than that",
)  # fmt: skip
claim(
    "weights-d", "Forced normalization keeps weights at their norm (Config D)",
    traced("D", growth(PLAIN_WEIGHTS)), "×", low=0.99, high=1.01, published="bounded",
    reason="within one percent, as stored after the last step",
)  # fmt: skip

# Held-out loss, which is not the paper's measure
claim(
    "loss-preservation", "Config E has a lower held-out loss than Config A",
    loss(E, A), "%", high=0.0,
)  # fmt: skip
claim(
    "loss-stall", "At the learning rate of Config A, Config E has a higher held-out loss than at its own",
    loss(E_AT_RATE_OF_A, E), "%", low=0.0, published="stalls at 1e-4",
)  # fmt: skip

# Not claimed in the paper: the steps of the ladder, and its variants. Each by score and by held-out loss.
COMPARED = {  # name of the claim: the side that is lower, the other one, and the sentence
    "b-below-a": (B, A, "Cosine attention lowers the {metric}: Config B is below Config A"),
    "c-below-b": (C, B, "Magnitude-preserving layers lower the {metric}: Config C is below Config B"),
    "c-below-a": (C, A, "Config C has a lower {metric} than Config A"),
    "d-below-a": (D, A, "Config D has a lower {metric} than Config A"),
    "leaky": (E_LEAKY, E, "With a leaky ReLU in place of SiLU, Config E has a lower {metric}"),
    "rotation-full": (
        ROTATE_FULL, ROTATE_PAIRS,
        "With Config E, rotation of all dimensions together has a lower {metric} than rotation of pairs",
    ),
}  # fmt: skip
for name, (ours, base, sentence) in COMPARED.items():
    claim(name, sentence, score(ours, base, "ratio"), "%", high=0.0)
    claim(f"loss-{name}", sentence.replace("{metric}", "held-out loss"), loss(ours, base), "%", high=0.0)
claim(
    "d-about-e", "Without LayerNorm, Config E has about the FID of Config D",
    score(E, D, "ratio", fid_only=True), "%", low=-6.4, high=6.4,
    reason="about: half of the 12.8 % of magnitude preservation, either way",
)  # fmt: skip
claim(
    "loss-d-about-e", "Without LayerNorm, Config E has about the held-out loss of Config D",
    loss(E, D), "%", low=-0.5, high=0.5,
    reason="about: half a percent either way",
)  # fmt: skip
