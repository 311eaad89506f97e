"""Training programs of users, functions and commands, as trials."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """A report of a program."""

    step: int
    metrics: Mapping[str, float]
