"""The program of a trial's second process that fails in its third step, as `FAILURE` says.

It fails before the exchange of the step, in which the first process then waits.
"""

import os
import signal
from itertools import count

import torch

from trainables.runtime.ranks import worker
from trainables.runtime.ranks.group import SeveralRanks

NAME = "tests.support.failing_rank"
STEP = 3
MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."
steps, all_reduce = count(1), SeveralRanks.all_reduce


def fail(ranks, parameters, terms):
    if next(steps) == STEP:
        if os.environ["FAILURE"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise torch.OutOfMemoryError(MEMORY)
    return all_reduce(ranks, parameters, terms)


if __name__ == "__main__":
    SeveralRanks.all_reduce = fail
    worker.main()
