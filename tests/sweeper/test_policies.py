"""Failure classes and retries."""

import pytest

from sweeper.policies import classify, is_retried


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("trainables.errors.NonFiniteLoss: refine: the training loss became nan", "non_finite"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "cuda_oom"),
        ("OutOfMemoryError: 1 worker(s) were killed due to the node running low", "host_oom"),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", "crash"),
        ("The actor died because its node has died. ActorDiedError", "lost_node"),
        ("trainables.errors.DataError: x.arrow: cut short", "data"),
        ("ZeroDivisionError: division by zero", "error"),
    ],
)
def test_a_failure_is_classified_by_its_text(error, expected):
    assert classify(error) == expected


@pytest.mark.parametrize(
    ("failure", "attempt", "retried"),
    [("crash", 1, True), ("crash", 3, False), ("lost_node", 2, True), ("non_finite", 1, False)],
)
def test_only_what_may_not_recur_is_retried(failure, attempt, retried):
    assert is_retried(failure, attempt=attempt, max_attempts=3) is retried
