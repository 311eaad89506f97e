"""The content hash tells apart what differs, and nothing else."""

import numpy as np

from trainables.sources.content import hash_content


def test_values_shape_dtype_and_grouping_all_count():
    zeros = np.zeros(4, dtype=np.uint8)
    different = [
        hash_content(zeros),
        hash_content(zeros.reshape(2, 2)),
        hash_content(zeros.view(np.int8)),
        hash_content(zeros + 1),
        hash_content(zeros[:2], zeros[2:]),
        hash_content([0, 0, 0, 0]),
        hash_content("ab", "c"),
        hash_content("a", "bc"),
        hash_content(1, 2),
        hash_content(12),
    ]
    assert len(set(different)) == len(different)


def test_where_and_how_the_values_lie_does_not_count():
    square = np.arange(16, dtype=np.int64).reshape(4, 4)
    assert hash_content(square.T) == hash_content(np.ascontiguousarray(square.T))
    assert hash_content(("a", "b")) == hash_content(["a", "b"])
