from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.dummy import DummyClassifier, DummyRegressor

from trainables.tasks.predictors.trivial import trivial_baselines
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split
from trainables.tasks.task import TaskInfo

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_the_majority_class_has_the_macro_f1_of_scikit_learn():
    train, test = np.array([0, 0, 1]), np.array([0, 0, 1, 2])
    split = Split(x=noise(4, 1, 1000), y=test)
    scores = trivial_baselines(TASKS["nasbench360/ecg"], train, split)
    expected = 1 - reference.f1_score(test, [0] * 4, average="macro")
    assert scores["majority"] == pytest.approx(expected)


def test_the_prior_ranks_nothing():
    labels = (RNG.random((300, 36)) < 0.3).astype(np.float32)
    split = Split(x=noise(300, 4, 10), y=labels)
    scores = trivial_baselines(TASKS["nasbench360/deepsea"], labels, split)
    assert scores == {"prior": 0.5}


def test_groups_are_scored_as_one():
    clips = (RNG.random((40, 200)) < 0.3).astype(np.float32)
    clips[0] = 1
    groups = np.repeat(np.arange(40), RNG.integers(1, 300, size=40))
    split = Split(x=noise(len(groups), 1, 1, 1), y=clips[groups], groups=groups)
    scores = trivial_baselines(TASKS["nasbench360/fsd50k"], clips, split)
    assert scores["prior"] == pytest.approx(1 - clips.mean(), abs=1e-6)


def test_the_mean_distance_is_over_those_that_are_known():
    info = TASKS["nasbench360/psicov"]
    distance, known = 4 + RNG.random((6, 1, 40, 40)), RNG.random((6, 1, 40, 40)) < 0.7
    known[0] = True
    y = np.concatenate([distance * known, known], axis=1).astype(np.float32)
    scores = trivial_baselines(info, y, Split(x=noise(6, 57, 40, 40), y=y))
    mean = np.nanmean(np.where(known, distance, np.nan), axis=0)[0]
    mean = (mean + mean.T) / 2
    far = np.triu(np.ones((40, 40), bool), 24)
    errors = [
        abs(mean - d)[k & far].mean() for d, k in zip(distance[:, 0], known[:, 0], strict=True)
    ]
    assert scores == {"mean": pytest.approx(np.mean(errors), rel=1e-5)}


def test_pixels_are_ranked_by_how_often_they_hold_and_by_the_input():
    info = TASKS["nasbench360/cosmic"]
    truth = (RNG.random((50, 1, 8, 8)) < np.linspace(0.05, 0.5, 8)).astype(np.float32)
    ignored = (RNG.random((50, 1, 8, 8)) < 0.2).astype(np.float32)
    y = np.concatenate([truth, ignored], axis=1)
    scores = trivial_baselines(info, y, Split(x=truth + 0.1 * noise(50, 1, 8, 8), y=y))
    assert scores["identity"] == 0  # brightness tells all
    counts = ignored == 0
    rate = (truth * counts).sum(0) / counts.sum(0)
    expected = 1 - reference.roc_auc_score(
        truth[counts], np.broadcast_to(rate, truth.shape)[counts]
    )
    assert scores["mean"] == pytest.approx(expected, abs=0.01)


def regression(metric: str, outputs: int = 2) -> TaskInfo:
    info = TASKS["pdebench/advection_1d"]
    return replace(info, kind="regression", metric=metric, channels=(1, outputs))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    ("metric", "theirs", "strategies"),
    [
        ("rmse", reference.root_mean_squared_error, ["mean"]),
        ("mae", reference.mean_absolute_error, ["mean", "median"]),
        ("one_minus_r2", lambda y, p: 1 - reference.r2_score(y, p), ["mean"]),
    ],
)
def test_trivial_regressions_are_those_of_scikit_learn(metric, theirs, strategies, outputs):
    train, test = (np.exp(noise(n, outputs)) * [1, 100, 1e-3][:outputs] for n in (60, 21))
    train, test = train.astype(np.float32), test.astype(np.float32)
    scores = trivial_baselines(
        regression(metric, outputs), train, Split(x=noise(21, 1, 16), y=test)
    )
    assert list(scores) == strategies
    for strategy in strategies:
        dummy = DummyRegressor(strategy=strategy).fit(train, train)
        expected = theirs(test, np.reshape(dummy.predict(test), test.shape))
        assert scores[strategy] == pytest.approx(expected, rel=1e-5)


def test_the_majority_is_that_of_scikit_learn():
    train, test = RNG.integers(24, size=200), RNG.integers(24, size=90)
    dummy = DummyClassifier(strategy="most_frequent").fit(train, train)
    expected = reference.zero_one_loss(test, dummy.predict(test))
    split = Split(x=noise(90, 1, 46), y=test)
    scores = trivial_baselines(TASKS["nasbench360/satellite"], train, split)
    assert scores == {"majority": pytest.approx(expected)}


def test_the_samples_of_a_group_count_as_one_regression():
    groups = np.array([0, 0, 0, 1, 2])
    test = np.array([[3.0], [3.0], [3.0], [5.0], [9.0]], dtype=np.float32)
    split = Split(x=noise(5, 1, 16), y=test, groups=groups)
    scores = trivial_baselines(regression("mae", 1), np.array([[4.0], [6.0]], np.float32), split)
    assert scores["mean"] == pytest.approx((2 + 0 + 4) / 3)
