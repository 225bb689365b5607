"""Choosing some pictures of each class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpdit.data.class_sampling import evenly_spaced_in_class, ranks_in_class


@given(st.lists(st.integers(0, 4), max_size=60))
def test_a_rank_counts_the_pictures_of_the_same_class_before_it(labels):
    expected = [labels[:index].count(label) for index, label in enumerate(labels)]
    assert ranks_in_class(np.array(labels, dtype=np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 4), max_size=60), st.data())
def test_each_class_gives_as_many_pictures_as_asked_for(labels, data):
    labels = np.array(labels, dtype=np.int64)
    sizes = np.bincount(labels, minlength=5)
    counts = np.array([data.draw(st.integers(0, size)) for size in sizes.tolist()])
    chosen = evenly_spaced_in_class(labels, counts)
    assert np.array_equal(np.bincount(labels[chosen], minlength=5), counts)
    assert np.array_equal(chosen, np.unique(chosen))  # ascending, none twice


def test_pictures_are_evenly_spaced_within_their_class():
    labels = np.arange(24) % 2
    chosen = evenly_spaced_in_class(labels, np.array([3, 2]))
    assert chosen[labels[chosen] == 0].tolist() == [4, 12, 20]  # ranks 2, 6 and 10 of 12
    assert chosen[labels[chosen] == 1].tolist() == [7, 19]  # ranks 3 and 9


def test_more_pictures_than_a_class_has_are_refused():
    with pytest.raises(ValueError, match="cannot choose"):
        evenly_spaced_in_class(np.array([0, 0, 1]), np.array([1, 2]))
