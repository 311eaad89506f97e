import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tests.support.measured_pairs import value
from trainables.metrics.classes import MacroF1, ZeroOneError


def logits(n: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, classes, generator=generator),
        torch.randint(classes, (n,), generator=generator),
    )


def test_zero_one_error_agrees_with_scikit_learn():
    scores, labels = logits(50, 4)
    expected = reference.zero_one_loss(labels.numpy(), scores.argmax(dim=1).numpy())
    assert value(ZeroOneError, scores, labels) == pytest.approx(expected)


@pytest.mark.slow
def test_many_samples_do_not_lose_precision():
    total = ZeroOneError()
    scores, labels = torch.tensor([[1.0, 0.0]]).expand(100_000, 2), torch.ones(100_000).long()
    for _ in range(300):
        total.update(scores, labels)  # 3e7 errors: single precision stops counting at 1.7e7
    assert total.compute() == 1.0


@given(st.integers(1, 40), st.integers(2, 9), st.integers(0, 99))
def test_macro_f1_agrees_with_scikit_learn_also_where_classes_are_absent(n, classes, seed):
    scores, labels = logits(n, classes, seed)
    decisions = scores.argmax(dim=1).numpy()
    expected = 1 - reference.f1_score(labels.numpy(), decisions, average="macro")
    assert value(MacroF1, scores, labels) == pytest.approx(expected)
