"""Windows of sub-words and their labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.sources.windows import cut_windows, label_subwords

streams = st.lists(st.integers(-1, 4), max_size=60).map(lambda x: np.array(x, dtype=np.int64))


def test_later_subwords_of_a_word_continue_its_entity():
    labels = label_subwords(
        [[2, -1, 3], [0, 0]],
        [[0, 0, 0, 1, 1, 2, 2], [0, 1]],
        classes=["B-LOC", "I-LOC", "B-PER", "I-PER"],
    )
    assert labels.tolist() == [2, 3, 3, -1, -1, 3, 3, 0, 0]


def test_without_a_scheme_every_subword_has_its_words_label():
    labels = label_subwords([[1, 0]], [[0, 0, 1]], classes=["number", "B-alone"])
    assert labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([-1, -1, -1, 2], [2]),  # one label outvotes any number of words without
        ([1, 1, 0, -1], [1]),
        ([2, 1, 1, 2], [1]),  # a tie: the lower number
        ([-1, -1, -1, -1], []),
        ([-1, -1, -1, -1, 0, -1, -1, -1], [0]),
        ([0, 0, 0], []),  # no whole window
    ],
)
def test_a_windows_label_is_its_most_frequent_one(labels, expected):
    windows, of_window = cut_windows(np.arange(len(labels)), np.array(labels), length=4)
    assert of_window.tolist() == expected
    assert windows.shape == (len(expected), 4)


@given(streams, st.integers(1, 8))
def test_windows_are_stretches_of_the_stream_and_agree_with_a_count(labels, length):
    windows, of_window = cut_windows(np.arange(len(labels)), labels, length=length)
    starts = range(0, len(labels) - length + 1, length)
    kept = [start for start in starts if (labels[start : start + length] >= 0).any()]
    assert windows.tolist() == [list(range(start, start + length)) for start in kept]
    for start, label in zip(kept, of_window, strict=True):
        inside = labels[start : start + length].tolist()
        assert all(inside.count(label) >= inside.count(other) for other in inside if other >= 0)
