"""Pure decisions about failures: what kind one is, whether to try again, when to give up.

No clock, no I/O: what a decision needs is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.study import Trial, TrialState

# The first fragment found in an error's text names its class; order matters.
SIGNS = (
    ("NonFiniteLoss", "non_finite"),
    ("CUDA out of memory", "cuda_oom"),
    ("OutOfMemoryError", "host_oom"),
    ("running low on memory", "host_oom"),
    ("MemoryError", "host_oom"),
    ("ConfigError", "config"),
    ("DataError", "data"),
    ("WeightsError", "data"),
    ("node has died", "lost_node"),
    ("NodeDiedError", "lost_node"),
    ("ActorDiedError", "crash"),
    ("ActorUnavailableError", "crash"),
    ("WorkerCrashedError", "crash"),
)
RETRIED = ("crash", "lost_node")  # what may not recur; the others would


def classify(error: str) -> str:
    """Returns the class of a failure from its text: a name of SIGNS, or `error`."""
    return next((name for sign, name in SIGNS if sign in error), "error")


def is_retried(failure: str, *, attempt: int, max_attempts: int) -> bool:
    """Says whether a trial whose attempt number `attempt` (from 1) failed is tried again."""
    return failure in RETRIED and attempt < max_attempts


@dataclass(frozen=True, kw_only=True)
class FailureBudget:
    """How many failures a sweep bears before it is hopeless."""

    max_fraction: float = 0.2  # of the trials that have ended
    systematic: int = 3  # first trials that fail for one and the same reason

    def exceeded(self, trials: Sequence[Trial]) -> str | None:
        """Returns why the sweep should end, or None."""
        ended = [t for t in trials if t.state.is_finished]
        failed = [t for t in ended if t.state is TrialState.FAILED]
        if not failed:
            return None
        same = len({t.reason for t in failed}) == 1
        if same and len(failed) == len(ended) >= self.systematic:
            return f"the first {len(failed)} trials all failed alike: {failed[0].reason}"
        return None

    def is_within(self, trials: Sequence[Trial]) -> bool:
        """Says whether a finished sweep's failures are within the budget."""
        failed = sum(t.state is TrialState.FAILED for t in trials)
        return failed <= self.max_fraction * len(trials)
