"""The search for a learning rate: the same budget for every setting, whatever the losses are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpdit.experiment.tuning import FIRST_RUNGS, best_rung, is_at_an_edge, next_rungs, rate, rounds, rungs


def search(loss, budget: int) -> tuple[dict[int, float], int]:
    """The losses of all rungs that a search tries, and the number of rounds that it takes."""
    losses: dict[int, float] = {}
    count = 0
    while following := next_rungs(losses, budget):
        losses |= {rung: loss(rung) for rung in following}
        count += 1
    return losses, count


def test_rates_are_half_octaves_around_the_start():
    assert [rate(1e-2, rung) for rung in FIRST_RUNGS] == [0.0025, 0.005, 0.01, 0.02, 0.04]
    assert rate(1e-2, 1) == 0.01414


@pytest.mark.parametrize(
    ("optimum", "tried"),
    [
        (0, [-4, -3, -2, -1, 0, 1, 2, 4]),  # inside: half-octaves around the best, then the nearest ones left
        (1, [-4, -2, -1, 0, 1, 2, 3, 4]),
        (5, [-4, -2, 0, 2, 3, 4, 5, 6]),  # at the edge: one more, then around the best
        (20, [-4, -2, 0, 2, 4, 6, 8, 10]),  # beyond: extension to the end of the budget
        (-20, [-10, -8, -6, -4, -2, 0, 2, 4]),
    ],
)
def test_a_search_of_eight_rates(optimum, tried):
    losses, count = search(lambda rung: (rung - optimum) ** 2 + 1e-3 * rung, 8)
    assert sorted(losses) == tried
    assert count <= rounds(8)
    assert is_at_an_edge(losses) == (abs(optimum) > 10)


def test_a_search_in_which_everything_diverges_goes_down_and_ends_untuned():
    losses, _ = search(lambda rung: math.inf, 8)
    assert sorted(losses) == [-10, -8, -6, -4, -2, 0, 2, 4]
    assert is_at_an_edge(losses)


def test_a_rate_that_diverges_is_never_the_best():
    losses, _ = search(lambda rung: math.inf if rung > 0 else -rung, 8)
    assert best_rung(losses) == 0 and not is_at_an_edge(losses)


@given(st.integers(5, 16), st.dictionaries(st.integers(-40, 40), st.floats(0, 1) | st.just(math.inf), max_size=81))
def test_every_search_spends_exactly_its_budget_within_the_enumerated_rungs(budget, table):
    losses, count = search(lambda rung: table.get(rung, 1.0), budget)
    assert len(losses) == budget
    assert count <= rounds(budget)
    assert set(losses) <= set(rungs(budget))
