import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tests.support.measured_pairs import value
from trainables.errors import DataError
from trainables.metrics.ranking import (
    AUROC,
    HardPixelAUROC,
    MeanAveragePrecision,
    PixelAUROC,
    bins_of,
)


def scored(n: int, labels: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = (torch.rand(n, labels, generator=generator) < 0.3).float()
    return target + torch.randn(n, labels, generator=generator), target


REFERENCES = [
    (AUROC, reference.roc_auc_score),
    (MeanAveragePrecision, reference.average_precision_score),
]


@pytest.mark.parametrize(("metric", "theirs"), REFERENCES)
def test_a_ranking_of_labels_agrees_with_scikit_learn(metric, theirs):
    prediction, target = scored(200, 5)
    prediction = (4 * prediction).round() / 4  # ties
    expected = 1 - theirs(target.numpy(), prediction.numpy(), average="macro")
    assert value(metric, prediction, target) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [AUROC, MeanAveragePrecision])
def test_labels_that_say_nothing_are_left_out_and_counted(metric):
    prediction, target = scored(50, 4)
    target[:, 2] = 0
    total = metric()
    total.update(prediction, target)
    kept = [0, 1, 3]
    assert total.compute() == pytest.approx(value(metric, prediction[:, kept], target[:, kept]))
    assert total.num_dropped == 1


@pytest.mark.parametrize("metric", [AUROC, MeanAveragePrecision])
def test_where_no_label_says_anything_there_is_no_value(metric):
    prediction, target = scored(5, 2)
    with pytest.raises(DataError, match="none of 2 labels"):
        value(metric, prediction, 0 * target)


def test_no_knowledge_is_an_auroc_of_a_half_and_the_average_precision_is_the_prior():
    _, target = scored(400, 3)
    nothing = torch.zeros_like(target)
    assert value(AUROC, nothing, target) == 0.5
    assert value(MeanAveragePrecision, nothing, target) == pytest.approx(1 - target.mean().item())


def pixels(n: int, side: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, 1, side, side)
    truth = (torch.rand(shape, generator=generator) < 0.1).float()
    ignored = (torch.rand(shape, generator=generator) < 0.2).float()
    ignored[0, 0, 0, 0] = 0.0
    scores = 3 * torch.randn(shape, generator=generator) + 2 * truth - 4
    return scores, torch.cat([truth, ignored], dim=1)


def flat(prediction: torch.Tensor, target: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores of the pixels that count."""
    counts = target[:, 1] == 0
    return target[:, 0][counts].numpy(), prediction[:, 0][counts].numpy()


def test_the_auroc_of_pixels_agrees_with_scikit_learn_within_its_stated_bound():
    prediction, target = pixels(40)
    truth, scores = flat(prediction, target)
    expected = 1 - reference.roc_auc_score(truth, scores)
    bins = bins_of(torch.from_numpy(scores)).numpy()
    positives, negatives = (np.bincount(bins[truth == k], minlength=2**20) for k in (1, 0))
    bound = (positives * negatives).sum() / (2 * positives.sum() * negatives.sum())
    assert bound < 1e-3
    assert abs(value(PixelAUROC, prediction, target) - expected) <= bound


def test_the_auroc_of_pixels_is_exact_for_scores_of_half_precision():
    prediction, target = pixels(10)
    prediction = prediction.bfloat16().float()
    expected = 1 - reference.roc_auc_score(*flat(prediction, target))
    assert value(PixelAUROC, prediction, target) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_hard_auroc_takes_ignored_pixels_for_true_negatives_as_official_code_does(share):
    prediction, target = pixels(40)
    generator = torch.Generator().manual_seed(1)
    target[:, 1] = (torch.rand(target[:, 1].shape, generator=generator) < share).float()
    kept = (1 - target[:, 1]).numpy()
    truth, logits = target[:, 0].numpy() * kept, prediction[:, 0].numpy() * kept
    official = 1 - reference.roc_auc_score(truth.ravel(), logits.ravel() > 0)
    found = value(HardPixelAUROC, prediction, target)
    assert found == pytest.approx(official, abs=1e-12)

    counted, scores = flat(prediction, target)
    ours = 1 - reference.roc_auc_score(counted, scores > 0)
    rates = [(scores > 0)[counted == 0].mean(), (scores <= 0)[counted == 1].mean()]
    assert ours == pytest.approx(np.mean(rates), abs=1e-12)
    assert found == pytest.approx(ours, abs=1e-12) if share == 0 else found < ours


def test_what_is_said_of_ignored_pixels_does_not_matter():
    prediction, target = pixels(4)
    expected = value(PixelAUROC, prediction, target)
    changed = torch.where(target[:, 1:] > 0, -prediction, prediction)
    assert value(PixelAUROC, changed, target) == expected


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=20))
def test_bins_rise_with_the_scores(scores):
    ordered = torch.tensor(scores, dtype=torch.float32).sort().values
    bins = bins_of(ordered)
    assert (bins.diff() >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < 2**20


def test_pixels_of_one_kind_have_no_auroc():
    prediction, target = pixels(2)
    target[:, 0] = 0
    with pytest.raises(DataError, match="needs pixels of both kinds"):
        value(PixelAUROC, prediction, target)
