"""One seed, many independent streams, none of which has a state to save.

Every use of chance draws from a generator that is derived from the trial's seed and from *what it
is for* (a scope such as "batches", an epoch). A resumed trial derives the same generators, so that
interrupted equals uninterrupted, and one more draw in one place moves no other place.
"""

import random

import numpy as np
import torch

from trainables.derived_seed import derive_seed


def generator(seed: int, *scope: str | int) -> torch.Generator:
    """Returns a fresh CPU generator for `scope`."""
    return torch.Generator().manual_seed(derive_seed(seed, *scope))


def seed_globals(seed: int, *scope: str | int) -> None:
    """Seeds Python's, NumPy's and torch's global generators (dropout, drop path) for `scope`."""
    derived = derive_seed(seed, *scope)
    random.seed(derived)
    np.random.seed(derived % 2**32)
    torch.manual_seed(derived)
