import numpy as np
import pytest
from sklearn import metrics as reference

from trainables.tasks.baselines import trivial_baselines
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_the_majority_class_errs_on_all_others():
    train, test = np.array([0, 1, 1, 1, 2]), np.array([1, 1, 0, 2])
    split = Split(x=noise(4, 1, 46), y=test)
    scores = trivial_baselines(TASKS["nasbench360/satellite"], train, split)
    assert scores == {"majority": 0.5}


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
