import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score

from tests.support.measured_pairs import value
from trainables.metrics.chunked import AUROCByThousands, MacroF1ByThousands
from trainables.tasks.registry import TASKS

SIZE, AUROC_SIZE = 1000, 1008  # 250 batches of 4, 63 of 16
N = 2 * SIZE + 300


@pytest.mark.parametrize(
    ("metric", "task", "size"),
    [(MacroF1ByThousands, "ecg", SIZE), (AUROCByThousands, "deepsea", AUROC_SIZE)],
)
def test_a_stretch_is_as_many_official_batches_as_hold_a_thousand(metric, task, size):
    info = TASKS[f"nasbench360/{task}"]
    assert info.compat_metric == metric.name
    assert (metric.batch, metric.size()) == (info.recipe["batch_size"], size)


@pytest.mark.parametrize("batch", [64, 999, 2 * SIZE + 1, N])
def test_macro_f1_is_the_mean_of_scikit_learn_s_over_stretches(batch):
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(N, 4, generator=generator), torch.arange(N) % 5 % 4
    expected = [
        1 - f1_score(y.numpy(), p.argmax(1).numpy(), average="macro")
        for p, y in zip(scores.split(SIZE), labels.split(SIZE), strict=True)
    ]
    found = value(MacroF1ByThousands, scores, labels, batch=batch)
    assert found == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("batch", [64, N])
def test_auroc_is_the_mean_of_scikit_learn_s_over_stretches_and_labels_that_say_something(batch):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(N, 3)).astype(np.float32), rng.random((N, 3)) < 0.01
    size = AUROC_SIZE
    labels[:size, 0] = False  # nothing to tell apart in the first stretch
    labels[2 * size :] = True  # nor in the last, of any label
    aurocs = [
        np.mean([roc_auc_score(labels[part, k], scores[part, k]) for k in told])
        for part, told in ((slice(size), (1, 2)), (slice(size, 2 * size), (0, 1, 2)))
    ]
    found = value(AUROCByThousands, scores, labels.astype(np.float32), batch=batch)
    assert found == pytest.approx(1 - np.mean(aurocs))
