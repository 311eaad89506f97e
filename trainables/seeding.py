"""Independent random streams from one seed. No stream has a state to save.

Every random draw comes from a generator that is derived from the trial's seed and a scope. A scope
consists of words such as "batches" and of numbers such as the epoch. A resumed trial derives the
same generators, so an interrupted trial equals an uninterrupted one. An additional draw in one
scope changes no other scope.

Importing this module loads no torch, because the service imports it too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *scope: str | int) -> int:
    """Return a 63-bit seed for `scope`.

    The seed is a pure function of the arguments (SHA-256). This is the reproducibility contract:
    another formula or scope changes the results of all trials.
    """
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
