"""The share of decided and of wrong verdicts, by simulation: what so many seeds can show, and how often they mislead.

    python benchmarks/power.py [--quick] [--studies 20000]

Studies are drawn with known true differences and judged by the rules of `mpdit.results`: differences paired by seed,
Student's t against each claim's bounds, equivalence by two one-sided tests, Fisher's exact test where runs diverged,
Holm's correction over the primary claims. All comparisons share the runs of Config A, so their p-values are dependent.

Differences are in units of their spread: the standard deviation, over seeds, of the difference between two runs that
share a seed. A verdict is wrong if it puts the true difference on the wrong side of a bound; where it is exactly at the
only bound, any verdict is wrong. `--quick` draws fewer studies of fewer sizes.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from mpdit.results.estimates import LEVEL
from mpdit.results.rate_sweeps import p_of_ratio
from mpdit.results.significance import FEWEST_RUNS, divergence_test

Array = NDArray[np.float64]

SEEDS = tuple(range(2, 11))  # numbers of training seeds
MOST_WRONG = 0.066  # of 500 studies: 5 % and one and two thirds standard errors of that share
CHUNK = 1000  # studies simulated at once
INF = math.inf


@dataclass(frozen=True)
class Claim:
    """A claim on a difference from Config A, in units of its spread: the true value and the bounds where it holds."""

    truth: float = 0.0
    low: float = -INF
    high: float = 0.0

    @property
    def wrong_sides(self) -> tuple[int, ...]:
        """The verdicts that would be wrong: 1 for `holds`, -1 for `fails`."""
        if self.low < self.truth < self.high:
            return (-1,)
        one_sided = math.isinf(self.low) or math.isinf(self.high)
        return (1, -1) if one_sided and self.truth in (self.low, self.high) else (1,)


@dataclass(frozen=True)
class Tests:
    """Tests of M claims in S studies."""

    p: Array  # (S, M) p-values for being on that side; NaN: not tested
    sides: NDArray[np.int8]  # (S, M) 1: inside the bounds, -1: outside, 0: neither


# ---------------------------------------------------------------------------------------------------------------------
# The rules, for many studies at once (tests/benchmarks/test_power.py compares them with mpdit.results)


def judge(mean: Array, tail: Callable[[Array], Array], claims: Sequence[Claim]) -> Tests:
    """Tests of estimates (S, M); `tail` is the one-sided p-value of a distance beyond a bound."""
    low, high = (np.array([getattr(claim, end) for claim in claims]) for end in ("low", "high"))
    at_most, at_least = tail(mean - low), tail(high - mean)
    one_sided = np.isinf(low) | np.isinf(high)
    inside = np.where(one_sided, 2, 1) * np.maximum(at_most, at_least)
    outside = 2 * np.minimum(1 - at_most, 1 - at_least)
    holds = (low < mean) & (mean < high)
    return Tests(np.minimum(np.where(holds, inside, outside), 1), np.where(holds, 1, -1).astype(np.int8))


def joint_tail(excess: Array, error: Array, freedom: float, second_error: Array, second_freedom: float) -> Array:
    """One-sided p-values where the half-widths of two errors are added in quadrature (`Estimate.with_error`)."""
    low, high = np.zeros_like(error), np.abs(excess) / error
    for _ in range(40):
        middle = (low + high) / 2
        second = -stdtrit(second_freedom, stdtr(freedom, -middle))
        is_short = np.hypot(error * middle, second_error * second) < np.abs(excess)
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    p: Array = stdtr(freedom, -high)
    return np.where(excess > 0, p, 1 - p)


def judge_seeds(values: Array, claims: Sequence[Claim]) -> Tests:
    """Tests of differences (S, M, n) by seed."""
    n = values.shape[-1]
    error = values.std(-1, ddof=1) / math.sqrt(n)
    return judge(values.mean(-1), lambda excess: stdtr(n - 1.0, -excess / error), claims)


def p_of_interval(estimate: Array, low: Array, high: Array, bound: float) -> tuple[Array, NDArray[np.bool_]]:
    """P-values of "below the bound" where that is so, else of "above", from 95 % intervals of many rounds
    (`Estimate.from_interval`)."""
    is_below = estimate < bound
    error = np.where(is_below, high - estimate, estimate - low) / ndtri(1 - LEVEL / 2)
    return 2 * ndtr(-np.abs(estimate - bound) / error), is_below


def holm(p: Array) -> Array:
    """P-values (S, M) corrected for the number of those that are not NaN."""
    order = np.argsort(p, axis=1)  # NaN last
    ranked = np.take_along_axis(p, order, axis=1)
    left = (~np.isnan(p)).sum(1, keepdims=True) - np.arange(p.shape[1])
    corrected = np.minimum(np.maximum.accumulate(ranked * left, axis=1), 1)
    result: Array = np.empty_like(p)
    np.put_along_axis(result, order, corrected, axis=1)
    return result


def verdicts(tests: Tests, corrected: bool = True) -> NDArray[np.int8]:
    """1 (holds), -1 (fails) or 0 (undecided), (S, M)."""
    p = holm(tests.p) if corrected else tests.p
    return np.where(p < LEVEL, tests.sides, 0).astype(np.int8)


def is_wrong(decided: NDArray[np.int8], claims: Sequence[Claim]) -> NDArray[np.bool_]:
    """Whether each verdict (S, M) is wrong."""
    return np.stack([np.isin(decided[:, i], claim.wrong_sides) for i, claim in enumerate(claims)], axis=1)


# ---------------------------------------------------------------------------------------------------------------------
# Studies

ALIKE = (1.0, 1.0, 1.0, 1.0, 1.0)
NOISY_A = (3.0, 1.0, 1.0, 1.0, 1.0)
UNEQUAL = (1.0, 3.0, 1.0, 3.0, 1.0)
NULL = (Claim(), Claim(), Claim(), Claim())
MIXED = (Claim(), Claim(-2.0), Claim(-2.0), Claim(0.0, -3.0, 3.0))  # lower, lower by far, again, level
AT_MARGIN = (Claim(1.0, -1.0, 1.0), Claim(-1.0, -1.0, 1.0), Claim(), Claim())


@dataclass(frozen=True)
class Sampling:
    """Noise of a score that is due to the seed of sampling."""

    part: float  # its standard deviation, over that of training seeds
    one_seed: bool  # one sampling seed for all runs, so that training seeds share the noise; else each has its own


def differences(
    rng: np.random.Generator,
    studies: int,
    n: int,
    claims: Sequence[Claim],
    spreads: Sequence[float],
    sampling: Sampling | None = None,
) -> Array:
    """Differences (S, M, n) of configurations from Config A by seed, whose true values are those of the claims.

    `spreads` are relative standard deviations over training seeds, of the runs of A and of each other configuration.
    """
    scale = np.array(spreads)[:, None]
    runs = scale * rng.standard_normal((studies, len(spreads), n))
    if sampling:
        noises = 1 if sampling.one_seed else n
        runs += sampling.part * scale * rng.standard_normal((studies, len(spreads), noises))
    truths = np.array([claim.truth for claim in claims])[:, None]
    return (runs[:, 1:] - runs[:, :1]) / np.hypot(scale[1:], scale[0]) + truths


Simulation = Callable[[np.random.Generator, int, int], Tests]  # (rng, studies, n)


@dataclass(frozen=True)
class Scenario:
    """A kind of study: its claims, and how its tests are simulated."""

    name: str
    claims: tuple[Claim, ...]
    simulate: Simulation
    corrected: bool = True  # for the number of claims
    flawed: bool = False  # a rule that was given up, for comparison
    slow: bool = False  # to simulate: only an eighth of the studies


def of_seeds(
    name: str, claims: tuple[Claim, ...], spreads: Sequence[float], sampling: Sampling | None = None, **options: bool
) -> Scenario:
    """Studies whose claims are all judged by paired differences of scores."""

    def simulate(rng: np.random.Generator, studies: int, n: int) -> Tests:
        return judge_seeds(differences(rng, studies, n, claims, spreads, sampling), claims)

    return Scenario(name, claims, simulate, **options)


def losses(image_error: float, rule: Literal["quadrature", "welch", "left out"] = "quadrature") -> Simulation:
    """Held-out losses on 100 images that all seeds and configurations share.

    `image_error` is the standard error of a difference that is due to the images, in units of the spread over seeds.
    """
    images = 100

    def simulate(rng: np.random.Generator, studies: int, n: int) -> Tests:
        side = rng.standard_normal((studies, 5, images)) * image_error * math.sqrt(images / 2)
        by_image = side[:, 1:] - side[:, :1]  # (S, M, images)
        values = differences(rng, studies, n, NULL, ALIKE) + by_image.mean(-1, keepdims=True)
        if rule == "left out":
            return judge_seeds(values, NULL)
        own, other = values.std(-1, ddof=1) / math.sqrt(n), by_image.std(-1, ddof=1) / math.sqrt(images)
        if rule == "quadrature":
            tail = partial(joint_tail, error=own, freedom=n - 1.0, second_error=other, second_freedom=images - 1.0)
            return judge(values.mean(-1), tail, NULL)
        freedom = (own**2 + other**2) ** 2 / (own**4 / (n - 1) + other**4 / (images - 1))
        return judge(values.mean(-1), lambda excess: stdtr(freedom, -excess / np.hypot(own, other)), NULL)

    return simulate


def shared_sampling_seeds(rng: np.random.Generator, studies: int, n: int) -> Tests:
    """Scores of three sampling seeds that all training seeds share, with their error in quadrature.

    A sampling seed's noise is as large as that of training, and half of it is the same for all seeds of a
    configuration.
    """
    sampling_seeds = 3
    runs = rng.standard_normal((studies, 5, n, 1))
    runs = runs + math.sqrt(0.5) * rng.standard_normal((studies, 5, 1, sampling_seeds))
    runs += math.sqrt(0.5) * rng.standard_normal((studies, 5, n, sampling_seeds))
    values = (runs[:, 1:] - runs[:, :1]) / math.sqrt(2)  # (S, M, n, sampling seeds)
    own = values.mean(3).std(-1, ddof=1) / math.sqrt(n)
    other = values.mean(2).std(-1, ddof=1) / math.sqrt(sampling_seeds)
    tail = partial(joint_tail, error=own, freedom=n - 1.0, second_error=other, second_freedom=sampling_seeds - 1.0)
    return judge(values.mean((2, 3)), tail, NULL)


def sampling_seed_used_twice(rng: np.random.Generator, studies: int, n: int) -> Tests:
    """Scores with a sampling seed per training seed, as noisy as training, but for the last two, which share one.

    Those two count once, with their mean. With two training seeds alone the verdict is withheld.
    """
    noise = rng.standard_normal((studies, 5, n))
    noise[..., -1] = noise[..., -2]
    runs = rng.standard_normal((studies, 5, n)) + noise
    values = (runs[:, 1:] - runs[:, :1]) / math.sqrt(2)
    if n == 2:
        return Tests(np.full((studies, 4), math.nan), np.zeros((studies, 4), np.int8))
    return judge_seeds(np.concatenate([values[..., :-2], values[..., -2:].mean(-1, keepdims=True)], -1), NULL)


def step_times(rng: np.random.Generator, studies: int, n: int) -> Tests:
    """Two claims on scores and two on step times, whose ratios over 40 rounds have tails and share the rounds of A."""
    rounds, beyond = 40, 13  # the 95 % interval is from the 14th of 40 ratios to the 14th from the top
    seeds = judge_seeds(differences(rng, studies, n, NULL[:2], ALIKE[:3]), NULL[:2])
    times = rng.standard_t(3, (studies, 3, rounds))
    ratios = np.sort(times[:, 1:] - times[:, :1], axis=-1)
    median, low, high = np.median(ratios, -1), ratios[..., beyond], ratios[..., rounds - 1 - beyond]
    p, holds = p_of_interval(median, low, high, bound=0.0)
    return Tests(np.hstack([seeds.p, p]), np.hstack([seeds.sides, np.where(holds, 1, -1).astype(np.int8)]))


def best_rates(rng: np.random.Generator, studies: int, n: int) -> Tests:
    """Two claims on scores and two on ratios of best rates, whose bounds are the true ratios.

    Each sweep has eight rates at factors of 2 and a lopsided curve; the true optimum is anywhere between grid points.
    """
    seeds = judge_seeds(differences(rng, studies, n, NULL[:2], ALIKE[:3]), NULL[:2])
    p, sides = np.empty((studies, 2)), np.zeros((studies, 2), np.int8)
    for i in range(studies):
        optima = rng.uniform(1.5, 5.5, 3)  # of A, B, C on the grid 0 .. 7 (factors of 2)
        noise = rng.standard_normal((3, 8, n))
        away = np.arange(8) - optima[:, None]
        curves = np.where(away > 0, 1.5, 0.5)[..., None] * away[..., None] ** 2 + noise
        base, *others = ({2.0**k: dict(enumerate(map(float, row))) for k, row in enumerate(curve)} for curve in curves)
        for j, sweep in enumerate(others):
            bound = math.log(2) * (optima[j + 1] - optima[0])
            p[i, j], holds = p_of_ratio(sweep, base, -INF, bound)
            sides[i, j] = 0 if holds is None else 1 if holds else -1
    return Tests(np.hstack([seeds.p, p]), np.hstack([seeds.sides, sides]))


def divergences(rng: np.random.Generator, studies: int, n: int) -> Tests:
    """Four claims on scores where a tenth of the runs diverges, whatever their configuration.

    As soon as one run of a comparison diverged only the numbers of diverged runs are compared.
    """
    scores = judge_seeds(differences(rng, studies, n, NULL, ALIKE), NULL)
    counts = (rng.random((studies, 5, n)) < 0.1).sum(-1)
    ours, base = counts[:, 1:], counts[:, :1]
    fisher = np.array([[divergence_test(k, n, l, n) or math.nan for l in range(n + 1)] for k in range(n + 1)])
    p, sides = fisher[ours, base], np.sign(base - ours)  # a claim to be lower fails where more runs diverge
    complete = (ours + base) == 0
    return Tests(np.where(complete, scores.p, p), np.where(complete, scores.sides, sides).astype(np.int8))


SCENARIOS = (
    of_seeds("nothing differs", NULL, ALIKE),
    of_seeds("nothing differs, runs of A spread three times as much", NULL, NOISY_A),
    of_seeds("nothing differs, runs of B and D spread three times as much", NULL, UNEQUAL),
    of_seeds("nothing differs, one sampling seed per training seed, as noisy", NULL, ALIKE, Sampling(1.0, False)),
    Scenario("nothing differs, one sampling seed used twice, as noisy", NULL, sampling_seed_used_twice),
    Scenario("nothing differs, three sampling seeds for all, as noisy", NULL, shared_sampling_seeds, slow=True),
    of_seeds("two of four differ by 2 spreads, one is level", MIXED, ALIKE),
    of_seeds("the same, runs of A spread three times as much", MIXED, NOISY_A),
    of_seeds("the same, runs of B and D spread three times as much", MIXED, UNEQUAL),
    of_seeds("two differ by just the margin of a claim to be level", AT_MARGIN, UNEQUAL),
    Scenario("losses, error of the images a third of the spread", NULL, losses(1 / 3), slow=True),
    Scenario("losses, error of the images as large as the spread", NULL, losses(1.0), slow=True),
    Scenario("losses, error of the images three times the spread", NULL, losses(3.0), slow=True),
    Scenario("two of four claims on step times", NULL, step_times),
    Scenario("two of four claims on best rates", NULL, best_rates, slow=True),
    Scenario("nothing differs, a tenth of the runs diverges", NULL, divergences),
    of_seeds("one sampling seed for all, half as noisy as training", NULL, ALIKE, Sampling(0.5, True), flawed=True),
    of_seeds("one sampling seed for all, as noisy as training", NULL, ALIKE, Sampling(1.0, True), flawed=True),
    Scenario("losses, error of the images as large, left out", NULL, losses(1.0, "left out"), flawed=True),
    Scenario("losses, of a third, degrees of freedom by Welch", NULL, losses(1 / 3, "welch"), flawed=True),
    of_seeds("nothing differs, not corrected for four claims", NULL, ALIKE, corrected=False, flawed=True),
)


def wrong_share(scenario: Scenario, n: int, studies: int, seed: int = 0) -> float:
    """The share of studies with at least one wrong verdict."""
    rng = np.random.default_rng((seed, n, *scenario.name.encode()))
    total = studies // 8 if scenario.slow else studies
    wrong = 0
    for start in range(0, total, CHUNK):
        tests = scenario.simulate(rng, min(CHUNK, total - start), n)
        wrong += int(np.count_nonzero(is_wrong(verdicts(tests, scenario.corrected), scenario.claims).any(1)))
    return wrong / total


# ---------------------------------------------------------------------------------------------------------------------
# Power

EFFECTS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # in spreads
POWER = 0.8  # the usual demand: a difference of this size is found in four of five studies


def decided_share(claim: Claim, others: Sequence[Claim], n: int, studies: int, seed: int = 0) -> float:
    """The share of studies in which a claim is decided, rightly, among others of the same family."""
    claims = (claim, *others)
    right = -1 if 1 in claim.wrong_sides else 1
    rng = np.random.default_rng((seed, n))
    tests = judge_seeds(differences(rng, studies, n, claims, ALIKE[: 1 + len(claims)]), claims)
    return float((verdicts(tests)[:, 0] == right).mean())


def smallest_effect(n: int, claims: int, studies: int, is_level: bool = False, seed: int = 0) -> float:
    """The difference, in spreads, that is found in POWER of all studies; or the margin within which equals are level.

    The claim is one of so many primary ones of which no other is decided, so that it has to pass at 5 % over their
    number.
    """
    rng = np.random.default_rng((seed, n))
    values = rng.standard_normal((studies, 1, n))

    def share(size: float) -> float:
        claim = Claim(0.0, -size, size) if is_level else Claim(-size)
        tests = judge_seeds(values + claim.truth, (claim,))
        return float(((tests.p < LEVEL / claims) & (tests.sides == 1)).mean())

    low, high = 0.0, 1.0
    while share(high) < POWER:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if share(middle) >= POWER else (middle, high)
    return high


# ---------------------------------------------------------------------------------------------------------------------
# Tables

# Spread over seeds of the difference between two runs, in the unit of the table.
MEASUREMENTS = {"held-out loss, %": 0.25, "KID, %": 4.5, "FID of spread 1, points": 1.0}


def table(head: str, columns: Sequence[object], rows: Iterator[tuple[str, Sequence[str]]]) -> Iterator[str]:
    yield f"| {head} | " + " | ".join(map(str, columns)) + " |"
    yield "|---" + "|---:" * len(columns) + "|"
    for name, cells in rows:
        yield f"| {name} | " + " | ".join(cells) + " |"


def number(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{float(f'{value:.2g}'):g}"


def error_table(seeds: Sequence[int], studies: int, flawed: bool) -> Iterator[str]:
    """Percentages of studies with a wrong verdict among four primary claims."""
    chosen = [scenario for scenario in SCENARIOS if scenario.flawed == flawed]
    rows = ((each.name, [f"{100 * wrong_share(each, n, studies):.1f}" for n in seeds]) for each in chosen)
    return table("seeds", seeds, rows)


def power_table(seeds: Sequence[int], studies: int) -> Iterator[str]:
    """Percentages of studies that decide a claim, alone / among three others that are not decided."""

    def rows() -> Iterator[tuple[str, Sequence[str]]]:
        for effect in EFFECTS:
            claim = Claim(-effect)
            shares = [[decided_share(claim, others, n, studies) for others in ((), NULL[1:])] for n in seeds]
            yield f"{effect:g}", [" / ".join(f"{100 * share:.0f}" for share in pair) for pair in shares]

    return table("difference, in spreads", seeds, rows())


def effect_table(seeds: Sequence[int], studies: int) -> Iterator[str]:
    """The smallest differences, and margins, that are decided in four of five studies, one claim of four."""

    def rows() -> Iterator[tuple[str, Sequence[str]]]:
        for words, is_level in (("difference", False), ("margin of level", True)):
            sizes = [smallest_effect(n, 4, studies, is_level) for n in seeds]
            yield f"{words}, in spreads", [number(size) for size in sizes]
            for unit, spread in MEASUREMENTS.items():
                yield f"{words}, {unit}", [number(size * spread) for size in sizes]

    return table("seeds", seeds, rows())


def divergence_table(seeds: Sequence[int]) -> Iterator[str]:
    """The smallest number of diverged runs against none that decides, alone / among three others undecided."""

    def fewest(n: int, claims: int) -> str:
        p_values = {k: divergence_test(k, n, 0, n) for k in range(1, n + 1)}
        return next((str(k) for k, p in p_values.items() if p is not None and p < LEVEL / claims), "none")

    chosen = [n for n in seeds if n >= FEWEST_RUNS]
    return table("runs per side", chosen, iter([("diverged", [f"{fewest(n, 1)} / {fewest(n, 4)}" for n in chosen])]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4,000 studies, of 2, 3, 5 and 10 seeds")
    parser.add_argument("--studies", type=int, default=20_000, help="number of studies (default: 20,000)")
    options = parser.parse_args(arguments)
    seeds, studies = ((2, 3, 5, 10), 4000) if options.quick else (SEEDS, options.studies)
    print(f"Studies with a wrong verdict among four primary claims, in % of {studies:,} by number of seeds\n")
    print(*error_table(seeds, studies, flawed=False), sep="\n")
    print("\nThe same under rules that are not ours\n")
    print(*error_table(seeds, studies, flawed=True), sep="\n")
    print("\nStudies that decide a claim, in %: the only claim / one of four, none of the others decided\n")
    print(*power_table(seeds, studies), sep="\n")
    print(f"\nWhat {POWER:.0%} of studies decide, one claim of four\n")
    print(*effect_table(seeds, studies), sep="\n")
    print("\nDiverged runs that decide against none: the only claim / one of four\n")
    print(*divergence_table(seeds), sep="\n")


if __name__ == "__main__":
    main()
