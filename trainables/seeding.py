"""One seed, many independent random streams, none of which has a state to save.

Every use of randomness draws from a generator derived from the trial's seed and from its scope:
words such as "batches", an epoch. A resumed trial derives the same generators, so that an
interrupted trial equals an uninterrupted one, and one more draw in one place moves no other place.

Deriving a seed needs no torch, so that the service can import this module.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *scope: str | int) -> int:
    """Return a 63-bit seed for `scope`, a pure function of its arguments (SHA-256)."""
    text = "/".join([str(seed), *map(str, scope)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *scope: str | int) -> torch.Generator:
    """Return a fresh CPU generator for `scope`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *scope))


def seed_globals(seed: int, *scope: str | int) -> None:
    """Seed Python's, NumPy's and torch's global generators (dropout, drop path) for `scope`."""
    import random

    import numpy as np
    import torch

    derived = derive_seed(seed, *scope)
    random.seed(derived)
    np.random.seed(derived % 2**32)
    torch.manual_seed(derived)
