"""Decisions about failures: their class, another attempt, the end of a hopeless sweep.

All functions are pure: they use no clock and no I/O.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sweeper.model import Trial, TrialOutline, TrialState


class Action(StrEnum):
    """Reaction to the failure of a trial."""

    RETRY = "retry"  # from the last checkpoint
    HALVE = "halve_batch"  # the same with half the micro-batch size
    FAIL = "fail"


# Another attempt may help only where the cause is outside of the trial, or where less memory is
# enough. Settings, data and a diverged loss would fail alike again.
DEFAULTS: Mapping[str, Action] = {  # class of failure -> action
    "cuda_oom": Action.HALVE,
    "host_oom": Action.HALVE,
    "non_finite": Action.FAIL,
    "timeout": Action.RETRY,
    "crash": Action.RETRY,
    "lost_node": Action.RETRY,
    "storage": Action.RETRY,
    "data": Action.FAIL,
    "config": Action.FAIL,
}
INFRASTRUCTURE_FAILURES = ("lost_node", "storage")  # such attempts do not count
MAX_UNCOUNTED = 50  # after so many of them in one launch, the trial fails

OWN = "trainables.errors."  # in tracebacks, before our errors: a user's may have the same names
CRASH = "crash"

# The first fragment that is in an error's text decides its class, so the order matters.
SIGNS = (
    (f"{OWN}NonFiniteLoss", "non_finite"),
    ("silent for", "timeout"),
    ("CUDA out of memory", "cuda_oom"),
    ("CUDA error: out of memory", "cuda_oom"),
    ("CUDA driver error: out of memory", "cuda_oom"),
    ("HIP out of memory", "cuda_oom"),
    ("HIP error: out of memory", "cuda_oom"),
    # cuBLAS, cuDNN and similar libraries have other names for it when they start on a full GPU.
    ("_STATUS_ALLOC_FAILED", "cuda_oom"),
    ("_STATUS_NOT_INITIALIZED", "cuda_oom"),
    ("CUSOLVER_STATUS_INTERNAL_ERROR", "cuda_oom"),
    ("CUDNN_STATUS_INTERNAL_ERROR", "cuda_oom"),
    ("CUSPARSE_STATUS_INSUFFICIENT_RESOURCES", "cuda_oom"),
    ("CURAND_STATUS_INITIALIZATION_FAILED", "cuda_oom"),
    ("CUFFT_ALLOC_FAILED", "cuda_oom"),
    ("CUFFT_INTERNAL_ERROR", "cuda_oom"),
    # These are of the host: Ray's memory monitor, Python, torch's allocator for CPUs and ENOMEM.
    # The sign of `torch.OutOfMemoryError` is among them, so its messages about GPUs come before.
    ("HostOutOfMemory", "host_oom"),
    ("OutOfMemoryError", "host_oom"),
    ("running low on memory", "host_oom"),
    ("MemoryError", "host_oom"),
    ("can't allocate memory", "host_oom"),
    ("Cannot allocate memory", "host_oom"),
    (f"{OWN}StorageError", "storage"),
    (f"{OWN}ConfigError", "config"),
    (f"{OWN}NodeUnfit", "lost_node"),  # another one may take the trial
    (f"{OWN}DeviceError", "config"),
    (f"{OWN}DataError", "data"),
    (f"{OWN}TaskDataError", "data"),
    ("checkpoint_folder.CorruptCheckpoint", "data"),
    (f"{OWN}WeightsError", "data"),
    ("node has died", "lost_node"),
    ("NodeDiedError", "lost_node"),
    ("NodeDrains", "lost_node"),  # the trial has left it, with its state saved
)


def classify(error: str) -> str:
    """Return the class of a failure from its text; the default is a crash."""
    return next((name for sign, name in SIGNS if sign in error), CRASH)


def without_numbers(reason: str) -> str:
    """Return a reason without amounts, addresses and process numbers, for comparisons."""
    # `0.37 GiB held` and `0.38 GiB held` are the same fault.
    return re.sub(r"\d[\da-f.]*", "#", reason)


@dataclass(frozen=True, kw_only=True)
class FailurePolicy:
    """The reaction to a trial's failure, by its class.

    On a shared GPU, another trial may have taken the memory. A trial that cannot save any is
    therefore tried again there, and fails only once its attempts are spent.
    """

    max_attempts: int = 3  # of one trial, including the first
    actions: Mapping[str, Action] = field(default_factory=lambda: DEFAULTS)
    shares_gpu: bool = False  # the trials share GPUs

    def respond(
        self,
        failure: str,
        trial: Trial,
        *,
        repeats: bool = False,
        can_halve: bool = True,
        has_begun: bool = True,
        num_lost: int = 0,
    ) -> Action:
        """Return the action after the latest attempt at a trial has failed.

        Args:
            failure: The class of the failure.
            trial: The trial.
            repeats: The previous attempt failed with the same error, without an epoch in between.
            can_halve: The micro-batches of the failed stage can be halved.
            has_begun: The attempt may have computed a batch; False if it failed before.
            num_lost: The attempts that this launch has lost to its infrastructure before.
        """
        action = self.actions[failure]
        # A lost node or a full store has a limit of its own, far above that of attempts.
        if failure in INFRASTRUCTURE_FAILURES:
            return Action.FAIL if num_lost >= MAX_UNCOUNTED else action
        if trial.counted >= self.max_attempts:
            return Action.FAIL
        if action is Action.HALVE:
            # Before the first batch a smaller one saves nothing: another trial may hold the memory.
            if self.shares_gpu and failure == "cuda_oom" and not (can_halve and has_begun):
                return Action.RETRY
            # A repeated lack of memory is no end as long as batches can be halved further.
            return action if can_halve else Action.FAIL
        # The same error twice without an epoch in between would come a third time.
        return Action.FAIL if repeats else action


@dataclass(frozen=True, kw_only=True)
class FailureBudget:
    """The limit on failures beyond which a sweep is hopeless."""

    max_fraction: float = 0.2  # of all trials
    min_failed: int = 3  # the fraction counts from so many failures
    systematic: int = 3  # first trials that fail with the same error before any epoch

    def exceeded(self, failed: Sequence[Trial], planned: int) -> str | None:
        """Return the reason why a sweep of `planned` trials should end, or None."""
        if len(failed) < self.min_failed or self._allows(len(failed), planned):
            return None
        return (
            f"{len(failed)} of {planned} trials failed, more than failures.max_failed_fraction "
            f"{self.max_fraction:g} allows; the last: {failed[-1].reason}"
        )

    def systematic_error(self, reasons: Mapping[Any, str]) -> str | None:
        """Return the reason to end a sweep whose first trials failed for these reasons, or None."""
        kinds = {without_numbers(reason) for reason in reasons.values()}
        if len(reasons) < self.systematic or len(kinds) > 1:
            return None
        return f"the first {len(reasons)} trials all failed alike: {[*reasons.values()][-1]}"

    def is_within(self, trials: Sequence[TrialOutline]) -> bool:
        """Return whether a finished sweep's failures are within the budget."""
        failed = sum(t.state is TrialState.FAILED for t in trials)
        return self._allows(failed, len(trials))

    def _allows(self, failed: int, planned: int) -> bool:
        return failed <= self.max_fraction * planned
