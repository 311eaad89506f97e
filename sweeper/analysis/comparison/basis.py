"""The seeds and the data that a test is based on, and how sentences name them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

Unit = Literal["seed", "task"]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The seeds of a test, and the draws of data that they were seen on."""

    seeds: int = 0  # of several tasks: the most
    is_uneven: bool = False  # tasks have different numbers of seeds
    draws: int | None = None  # of the data of a task; of several: the most; None: unknown
    undrawn: int = 0  # tasks with one draw, where others have several
    samples: int | None = None  # of the task, in all splits; None: unknown, or several tasks

    @classmethod
    def of(cls, seeds: int, hashes: Collection[str | None], sizes: Iterable[int | None]) -> "Basis":
        """Return the basis of a test on one task.

        Args:
            seeds: The number of seeds.
            hashes: Those of the data of each training; None: unknown.
            sizes: The samples of the task in all splits, likewise.
        """
        is_known = bool(hashes) and None not in hashes
        different = set(sizes)
        return cls(
            seeds=seeds,
            draws=len(set(hashes)) if is_known else None,
            samples=different.pop() if len(different) == 1 else None,
        )

    def told(self, n: int, unit: Unit = "seed") -> str:
        """Return the number of units of a test and the data: `8 seeds, one draw of 400 samples`."""
        data = self.told_each() if unit == "task" else self._data()
        return ", ".join(filter(None, (_count(n, unit), data)))

    def told_each(self) -> str:
        """Return the seeds and the data of each task: `8 seeds and one draw of data each`.

        It is "" if they are unknown.
        """
        if not self.seeds:
            return ""
        seeds = f"{'up to ' * self.is_uneven}{_count(self.seeds, 'seed')}"
        if self.has_own_draws:
            but = f", but one for all on {_count(self.undrawn, 'task')}" * bool(self.undrawn)
            return f"{seeds} each, with a draw of data for each seed{but}"
        return f"{' and '.join(filter(None, (seeds, self._data())))} each"

    @property
    def has_own_draws(self) -> bool:
        """True if each seed has its own draw of the data."""
        return self.draws == self.seeds > 1

    def _data(self) -> str:
        if self.draws is None:
            return ""
        draws = "one draw" if self.draws == 1 else f"{self.draws} draws"
        if self.has_own_draws:
            draws = "each with its own draw"
        return f"{draws} of {'data' if self.samples is None else f'{self.samples} samples'}"


UNKNOWN = Basis()


def over_tasks(bases: Collection[Basis]) -> Basis:
    """Return the basis of a test over tasks: the most seeds and draws of a task."""
    draws = [each.draws for each in bases]
    sizes = {each.samples for each in bases}
    most = max((n for n in draws if n is not None), default=None) if None not in draws else None
    return Basis(
        seeds=max((each.seeds for each in bases), default=0),
        is_uneven=len({each.seeds for each in bases}) > 1,
        draws=most,
        undrawn=draws.count(1) if most is not None and most > 1 else 0,
        samples=sizes.pop() if len(bases) == 1 else None,
    )


def _count(n: int, unit: Unit) -> str:
    return f"one {unit}" if n == 1 else f"{n} {unit}s"
