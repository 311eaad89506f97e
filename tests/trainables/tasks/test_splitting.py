import numpy as np
import pytest

from trainables.errors import DataError
from trainables.tasks.splitting import hold_out, hold_out_of_each, shuffled, uniforms


def test_an_order_is_a_permutation_of_its_seed_and_scope():
    order = shuffled(100, 0, "task", "train")
    assert sorted(order) == list(range(100))
    np.testing.assert_array_equal(order, shuffled(100, 0, "task", "train"))
    assert (order != shuffled(100, 1, "task", "train")).any()
    assert (order != shuffled(100, 0, "task", "test")).any()


@pytest.mark.parametrize(("count", "num_val"), [(2, 1), (4, 1), (25, 2), (100, 10), (3456, 346)])
def test_a_tenth_is_held_out_and_at_least_one(count, num_val):
    rows = hold_out(count, 0, "task")
    assert len(rows["val"]) == num_val
    assert sorted([*rows["train"], *rows["val"]]) == list(range(count))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples_for_two_splits_are_refused(count):
    with pytest.raises(DataError, match=f"task: {count} training samples, but two at least"):
        hold_out(count, 0, "task")


def test_draws_are_uniform_and_of_their_seed():
    drawn = uniforms((1000, 2), 3, "task")
    assert drawn.min() >= 0
    assert drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(0), 0.5, atol=0.05)
    np.testing.assert_array_equal(drawn, uniforms((1000, 2), 3, "task"))


def test_a_tenth_of_each_class_is_held_out_and_at_least_one_of_two():
    classes = np.repeat([0, 1, 2, 3], [100, 25, 2, 1])
    rows = hold_out_of_each(classes, 0, "task")
    assert np.bincount(classes[rows["val"]]).tolist() == [10, 2, 1]
    assert sorted([*rows["train"], *rows["val"]]) == list(range(128))
    assert (np.diff(rows["train"]) < 0).any()
    other = hold_out_of_each(classes, 1, "task")
    assert set(other["val"]) != set(rows["val"])


@pytest.mark.parametrize("classes", [[], [0], [0, 1, 2]])
def test_classes_of_one_sample_cannot_be_held_out(classes):
    with pytest.raises(DataError, match="task: no class has two training samples"):
        hold_out_of_each(np.array(classes, dtype=np.int64), 0, "task")
