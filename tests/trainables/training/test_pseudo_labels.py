"""Classes of training samples: a task's own, or k-means groups as scikit-learn finds them."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from tests.support.shapes import task_of
from trainables.errors import DataError
from trainables.tasks.task import Task
from trainables.training import pseudo_labels
from trainables.training.pseudo_labels import target_labels


def task(y, kind: str = "dense") -> Task:
    """A task of which only the training targets count."""
    y = np.asarray(y)
    content = str(hash(y.tobytes()))
    return task_of(np.zeros((len(y), 1, 4), np.float32), y, kind, content=content, channels=(1, 1))


def groups(n: int, *shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fields about three far centres, and which one each is about."""
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=n)
    centres = 10 * rng.normal(size=(3, *shape))
    return (centres[true] + rng.normal(size=(n, *shape))).astype(np.float32), true


def test_a_classification_task_has_its_own_classes_whatever_the_number_of_clusters():
    y = np.array([2, 0, 1, 1, 0, 2])
    for clusters in (2, 10):
        labels = target_labels(task(y, "classification"), clusters)
        assert labels.dtype == np.int64
        assert labels.tolist() == y.tolist()


def test_a_class_without_a_training_sample_has_no_number():
    assert target_labels(task([7, 3, 7], "classification"), 10).tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", ["dense", "multilabel"])
def test_groups_are_those_of_scikit_learn(kind):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(60, 1, 8)) if kind == "dense" else rng.integers(2, size=(60, 8))
    y = y.astype(np.float32)
    ours = target_labels(task(y, kind), 4)
    theirs = KMeans(4, n_init=10, random_state=0).fit_predict(y.reshape(60, -1))
    assert adjusted_rand_score(theirs, ours) == 1
    assert set(ours.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("n", "shape"),
    [(90, (1, 12)), (90, (2, 15, 20)), (10_001, (1, 3))],
    ids=["as they are", "by principal components", "in batches"],
)
def test_groups_that_lie_apart_are_found_however_they_are_read(n, shape):
    y, true = groups(n, *shape)
    assert adjusted_rand_score(true, target_labels(task(y), 3)) == 1


def test_labels_depend_on_the_data_alone():
    y = np.random.default_rng(0).normal(size=(80, 1, 400)).astype(np.float32)
    first = target_labels(task(y), 5)
    pseudo_labels.KNOWN.clear()
    np.random.seed(1)
    np.random.random(7)
    assert np.array_equal(target_labels(task(y), 5), first)


def test_what_is_returned_can_be_written_without_harm_to_the_next():
    y, _ = groups(12, 1, 3)
    labels = target_labels(task(y), 3)
    expected = labels.copy()
    labels[:] = -1
    assert np.array_equal(target_labels(task(y), 3), expected)


def test_the_memo_tells_numbers_of_clusters_apart():
    y, _ = groups(30, 1, 3)
    assert [target_labels(task(y), k).max() + 1 for k in (2, 3, 2)] == [2, 3, 2]


@pytest.mark.parametrize("distinct", [1, 2])
def test_there_are_no_more_groups_than_different_outputs(distinct):
    y = np.repeat(np.arange(distinct, dtype=np.float32), 6)[:, None, None]
    labels = target_labels(task(y), 10)
    assert np.array_equal(labels, np.repeat(labels[::6], 6))
    assert sorted(set(labels.tolist())) == list(range(distinct))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
def test_of_few_samples_some_two_share_a_group(n):
    y = np.random.default_rng(n).normal(size=(n, 1, 3)).astype(np.float32)
    counts = np.bincount(target_labels(task(y), 10))
    assert counts.min() >= 1
    assert counts.max() >= min(n, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["dense", "multilabel"])
def test_an_output_that_is_not_finite_is_an_error(kind, value):
    y, _ = groups(12, 3)
    y[3, 1] = value
    with pytest.raises(DataError, match=r"made/up: some training targets are NaN or infinite"):
        target_labels(task(y, kind), 3)
