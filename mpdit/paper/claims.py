"""The paper's claims. Each is a sentence, the quantity that tests it, and the bounds between which it must be."""

from __future__ import annotations

from ..experiment.columns import HELDOUT_AGGREGATES
from ..rendering.claims.accounting import parameters, step_time
from ..rendering.claims.evidence import Side
from ..rendering.claims.losses import loss
from ..rendering.claims.rates import best_rates
from ..rendering.claims.scores import score
from ..rendering.claims.table import claims_table
from ..rendering.claims.traces import growth, highest, peak, traced
from ..rendering.registry import CLAIMS, ArtifactData, claim, table
from ..rendering.table_format import Table
from .scores import PAPER_FID

A, C, D, E = (Side(config) for config in "ACDE")
ROTATE, SCALE = Side("E", "scale_rotate"), Side("E", "scale")
E_AT_RATE_OF_A, A_AT_RATE_OF_E = Side("E", rate_of="A"), Side("A", rate_of="E")


def _published(model: str, *sides: Side) -> str:
    """The paper's own numbers for these sides, such as `70.86 and 72.03 (DiT-S/2)`."""
    return f"{' and '.join(f'{PAPER_FID[model, side.config, side.modulation]:.2f}' for side in sides)} ({model})"


# Scores
claim(
    "preservation", "Config E has a lower FID than Config A",
    score(E, A, "ratio"), "%", high=0.0, published="lower",
)  # fmt: skip
claim(
    "preservation-size", "The FID of Config E is about 12.8 % below that of Config A",
    score(E, A, "ratio", fid_only=True), "%", low=-19.2, high=-6.4, published="−12.8 %",
    reason="about: half of 12.8 % either way",
)  # fmt: skip
claim(
    "forcing-score", "Forced weight normalization alone costs a little: Config D has a higher FID than Config C",
    score(D, C, "ratio"), "%", low=0.0, published=_published("DiT-XS/2", D, C),
)  # fmt: skip
claim(
    "shift-over-rotation", "With Config E, scale + shift has a lower FID than scale + rotate",
    score(E, ROTATE, "points"), "points", high=0.0, published=_published("DiT-S/2", E, ROTATE),
)  # fmt: skip
claim(
    "rotation-over-scale", "With Config E, scale + rotate has a lower FID than scale alone",
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
    "rates-ratio", "The best learning rate of Config E is about 100 times that of Config A",
    best_rates("E", "A"), "×", low=10**1.5, high=10**2.5, published="1e-2 and 1e-4",
    reason="about: half a decade either way",
)  # fmt: skip
claim(
    "rates-mp", "At the learning rate of Config A, Config E has a higher FID than at its own",
    score(E_AT_RATE_OF_A, E, "ratio"), "%", low=0.0, published="stalls at 1e-4",
)  # fmt: skip
claim(
    "rates-baseline", "At the learning rate of Config E, Config A has a higher FID than at its own",
    score(A_AT_RATE_OF_E, A, "ratio"), "%", low=0.0, published="1e-4",
)  # fmt: skip

# Magnitudes
claim(
    "growth-a", "The residual stream of Config A grows over training",
    traced("A", growth("stream")), "×", low=2.0, published="0.5 to 4.0",
    reason="a doubling: more than the bound for Configs C and E allows",
)  # fmt: skip
claim(
    "bound-c", "The residual stream of Config C stays bounded",
    traced("C", peak("stream")), "×", high=2.0, published="bounded",
    reason="never twice its magnitude at initialization",
)  # fmt: skip
claim(
    "bound-e", "The residual stream of Config E stays bounded",
    traced("E", peak("stream")), "×", high=2.0, published="bounded",
    reason="never twice its magnitude at initialization",
)  # fmt: skip
claim(
    "growth-a-c", "The residual stream of Config A grows more than that of Config C",
    traced("A", growth("stream"), "C"), "×", low=1.0, published="0.5 to 4.0; bounded",
)  # fmt: skip
claim(
    "growth-a-e", "The residual stream of Config A grows more than that of Config E",
    traced("A", growth("stream"), "E"), "×", low=1.0, published="0.5 to 4.0; bounded",
)  # fmt: skip
claim(
    "spikes", "In Config D, the magnitude spikes at the input of the MLP",
    traced("D", peak("mlp input", "stream")), "×", low=1.5, published="spikes",
    reason="in its highest block, half as much again as the residual stream",
)  # fmt: skip
claim(
    "spikes-norm", "LayerNorm causes the spike of Config D: without it, that of Config E is lower",
    traced("D", highest("mlp input"), "E"), "×", low=1.0, published="from its LayerNorm",
)  # fmt: skip
claim(
    "weights-c", "Without forced normalization, weights grow (Config C)",
    traced("C", growth("weights")), "×", low=1.05, published="grow",
    reason="by 5 % or more: averaging over steps takes off less than that",
)  # fmt: skip
claim(
    "weights-d", "Forced normalization keeps weights at their norm (Config D)",
    traced("D", growth("weights")), "×", low=0.99, high=1.01, published="bounded", reason="within one percent",
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


@table(
    "claims",
    title="Verdicts",
    section="Claims",
    experiments=(),
    reads=("runs", "fid", "magnitudes", "cost", "settings"),
    reads_optional=HELDOUT_AGGREGATES,
    caption="The paper's claims, and what the runs of this study say about them.",
)
def claims(data: ArtifactData) -> Table:
    return claims_table(CLAIMS.values(), data)
