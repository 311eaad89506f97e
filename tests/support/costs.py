"""The cost of work by itself, whatever the machine and the rest of the process do meanwhile."""

import gc
import time
from collections.abc import Callable


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU time, in seconds, that the calling thread spends in `work`.

    What all earlier tests have left on the heap is hidden from the garbage collector meanwhile: a
    user's process does not hold it.
    """
    gc.freeze()
    try:
        began = time.thread_time()
        work()
        return time.thread_time() - began
    finally:
        gc.unfreeze()


def slowness() -> float:
    """Return how many times slower this core is now than the one that limits are stated for.

    That core does a fixed piece of work in 40 ms. A slower processor, or one whose other thread is
    busy, needs longer for all work alike.
    """
    return max(1.0, cpu_s(lambda: sum(range(2_000_000))) / 0.04)


def is_cheap(work: Callable[[], object], within_s: float, tries: int = 4) -> bool:
    """Return whether one of a few runs of `work` takes less than `within_s` of CPU time.

    A busy machine only ever adds to what a run costs, so the least of them is nearest the truth.
    On a slower core each limit is longer.
    """
    costs = (cpu_s(work) for _ in range(tries))
    return any(cost < within_s or cost < within_s * slowness() for cost in costs)
