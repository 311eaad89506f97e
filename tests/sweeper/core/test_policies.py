"""Failure classes, what is done about each, and when a sweep is hopeless."""

import mmap
import traceback
from dataclasses import replace

import pytest
import torch

from sweeper.core.policies import DEFAULTS, SIGNS, Action, FailureBudget, FailurePolicy, classify
from sweeper.model import AttemptStarted, Trial, TrialKind, TrialReopened, TrialState, apply

TRIAL = Trial(study="s", number=0, kind=TrialKind.SAMPLED, params={}, seed=0, attempt=1)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("trainables.errors.NonFiniteLoss: refine: the training loss became nan", "non_finite"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "cuda_oom"),
        ("torch.AcceleratorError: CUDA error: out of memory\nCUDA kernel errors might", "cuda_oom"),
        ("RuntimeError: CUDA driver error: out of memory", "cuda_oom"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "cuda_oom"),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "cuda_oom"),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(h)`", "cuda_oom"),
        ("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDn", "cuda_oom"),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", "cuda_oom"),
        ("cuFFT error: CUFFT_INTERNAL_ERROR", "cuda_oom"),
        ("torch.OutOfMemoryError: HIP out of memory. Tried to allocate", "cuda_oom"),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", "crash"),
        ("trainables.errors.DeviceError: the trial asks for a GPU", "config"),
        ("OutOfMemoryError: 1 worker(s) were killed due to the node running low", "host_oom"),
        ("HostOutOfMemory: 2.1 GiB held, limit 2 GiB", "host_oom"),
        ("silent for 1800 s (failures.silence): it was ended.", "timeout"),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", "crash"),
        ("The actor died because its node has died. ActorDiedError", "lost_node"),
        ("NodeDrains: its node leaves the cluster; the trial goes on elsewhere", "lost_node"),
        ("trainables.errors.DataError: x.arrow: cut short", "data"),
        ("trainables.errors.ConfigError: k0 is above 8 tokens", "config"),
        ("trainables.errors.StorageError: no space left on /x", "storage"),
        ("ZeroDivisionError: division by zero", "crash"),
        ("train.StorageError: no answer", "crash"),
        ("NoDataError: no rows yet", "crash"),
    ],
)
def test_a_failure_is_classified_by_its_text(error, expected):
    assert classify(error) == expected


@pytest.mark.parametrize(
    "exhaust", [lambda: torch.empty(10**14), lambda: mmap.mmap(-1, 10**15), lambda: bytes(10**17)]
)
def test_a_host_that_has_no_more_memory_is_known_by_what_torch_and_the_system_say(exhaust):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        exhaust()
    assert classify("".join(traceback.format_exception(raised.value))) == "host_oom"


def test_every_class_has_an_action():
    assert {name for _, name in SIGNS} | {"crash"} == DEFAULTS.keys()


@pytest.mark.parametrize(
    ("failure", "attempt", "action"),
    [
        ("crash", 1, Action.RETRY),
        ("crash", 3, Action.FAIL),
        ("timeout", 2, Action.RETRY),
        ("non_finite", 1, Action.FAIL),
        ("data", 1, Action.FAIL),
        ("config", 1, Action.FAIL),
        ("cuda_oom", 2, Action.HALVE),
        ("host_oom", 3, Action.FAIL),
    ],
)
def test_the_default_is_to_retry_what_may_not_recur_until_the_attempts_are_spent(
    failure, attempt, action
):
    assert FailurePolicy().respond(failure, replace(TRIAL, attempt=attempt)) is action


def test_what_is_not_the_trials_fault_is_not_counted():
    policy, often = FailurePolicy(max_attempts=2), replace(TRIAL, attempt=9, uncounted=8)
    assert policy.respond("lost_node", often) is Action.RETRY
    assert policy.respond("crash", often) is Action.RETRY, "the first that counts"
    assert policy.respond("crash", replace(often, attempt=10)) is Action.FAIL
    assert policy.respond("lost_node", often, num_lost=49) is Action.RETRY
    assert policy.respond("lost_node", often, num_lost=50) is Action.FAIL


def test_a_trial_that_a_user_had_tried_again_has_all_its_attempts_of_each_kind():
    policy, lost = FailurePolicy(max_attempts=2), replace(TRIAL, attempt=60, uncounted=50)
    again = apply(apply(lost, TrialReopened()), AttemptStarted(attempt=61))
    assert policy.respond("lost_node", again) is Action.RETRY
    assert policy.respond("crash", again) is Action.RETRY
    assert policy.respond("crash", replace(again, attempt=62)) is Action.FAIL


def test_the_same_exception_again_without_an_epoch_between_is_not_chance():
    assert FailurePolicy().respond("crash", TRIAL, repeats=True) is Action.FAIL


def test_memory_that_cannot_be_saved_by_smaller_batches_is_not_tried_again():
    assert FailurePolicy().respond("cuda_oom", TRIAL, can_halve=False) is Action.FAIL
    retrying = FailurePolicy(actions={**DEFAULTS, "cuda_oom": Action.RETRY})
    assert retrying.respond("cuda_oom", TRIAL, can_halve=False) is Action.RETRY


@pytest.mark.parametrize(("can_halve", "has_begun"), [(False, True), (True, False)])
def test_memory_of_a_shared_gpu_may_be_a_neighbours_and_is_tried_again_unhalved(
    can_halve, has_begun
):
    shared, how = FailurePolicy(shares_gpu=True), {"can_halve": can_halve, "has_begun": has_begun}
    assert shared.respond("cuda_oom", TRIAL, repeats=True, **how) is Action.RETRY
    assert shared.respond("cuda_oom", replace(TRIAL, attempt=3), **how) is Action.FAIL
    assert shared.respond("cuda_oom", TRIAL) is Action.HALVE
    assert shared.respond("host_oom", TRIAL, can_halve=False) is Action.FAIL
    failing = replace(shared, actions={**DEFAULTS, "cuda_oom": Action.FAIL})
    assert failing.respond("cuda_oom", TRIAL, **how) is Action.FAIL


def failed(count: int) -> list[Trial]:
    return [
        replace(TRIAL, number=n, state=TrialState.FAILED, reason=f"no {n}") for n in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "planned", "is_hopeless"),
    [(2, 4, False), (3, 4, True), (3, 15, False), (4, 15, True), (20, 100, False), (21, 100, True)],
)
def test_a_sweep_is_hopeless_once_too_many_of_all_its_trials_have_failed(
    count, planned, is_hopeless
):
    why = FailureBudget().exceeded(failed(count), planned)
    assert (why is not None) is is_hopeless
    if why is not None:
        assert f"{count} of {planned} trials failed" in why
        assert f"no {count - 1}" in why
