"""The seeds and the data that a test is based on, and how sentences name them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["seed", "task"]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The seeds of a test, and the draws of data that they were seen on."""

    tasks: int = 1
    seeds: int = 0  # of several tasks: the most
    is_uneven: bool = False  # tasks have different numbers of seeds
    draws: int | None = None  # of the data of an arm; of several tasks: the most; None: unknown
    undrawn: int = 0  # tasks with one draw for several seeds
    sparse: int = 0  # tasks with several draws, but fewer than seeds
    samples: int | None = None  # of the task, in all splits; None: unknown, or several tasks
    is_divided: bool = False  # all draws divide the same samples anew

    @classmethod
    def of(
        cls, seeds: int, arms: Sequence[Collection[str | None]], sizes: Iterable[int | None]
    ) -> "Basis":
        """Return the basis of a test on one task.

        Args:
            seeds: The number of seeds.
            arms: The hashes of the data of each training, by arm; None: unknown.
            sizes: The samples of the task in all splits, likewise.
        """
        is_known = any(arms) and not any(None in hashes for hashes in arms)
        # Arms may have data of different sizes: then a seed has one draw in each arm.
        draws = max(len(set(hashes)) for hashes in arms) if is_known else None
        # A division has the hash of the stored samples, a hyphen and a hash of its own.
        stored = [{str(each).partition("-")[0] for each in hashes} for hashes in arms]
        different = set(sizes)
        return cls(
            seeds=seeds,
            draws=draws,
            undrawn=int(draws == 1 < seeds),
            sparse=int(draws is not None and 1 < draws < seeds),
            samples=different.pop() if len(different) == 1 else None,
            is_divided=draws is not None and draws > 1 and all(len(each) == 1 for each in stored),
        )

    def told(self, n: int, unit: Unit = "seed") -> str:
        """Return the number of units of a test and the data: `8 seeds, one draw of 400 samples`."""
        data = self.told_each() if unit == "task" else self._data()
        return ", ".join(filter(None, (counted_units(n, unit), data)))

    def told_each(self) -> str:
        """Return the seeds and the data of each task: `8 seeds and one draw of data each`.

        It is "" if they are unknown.
        """
        if not self.seeds:
            return ""
        seeds = f"{'up to ' * self.is_uneven}{counted_units(self.seeds, 'seed')}"
        if self.draws is None:
            return f"{seeds} each"
        if self.draws == 1 or self.tasks == self.sparse == 1:
            return f"{seeds} and {self._data()} each"
        if self.undrawn + self.sparse == self.tasks:
            return f"{seeds} each, with fewer {self._draw}s of data than seeds"
        others = (("one for all", self.undrawn), ("fewer", self.sparse))
        but = " and ".join(f"{what} on {counted_units(n, 'task')}" for what, n in others if n)
        each = f"{'an' if self.is_divided else 'a'} {self._draw} of data for each seed"
        return f"{seeds} each, with {each}{', but ' * bool(but)}{but}"

    @property
    def _draw(self) -> str:
        return "overlapping division" if self.is_divided else "draw"

    def _data(self) -> str:
        if self.draws is None:
            return ""
        draws = "one draw" if self.draws == 1 else f"{self.draws} {self._draw}s"
        if self.draws == self.seeds > 1:
            draws = f"each with its own {self._draw}"
        return f"{draws} of {'data' if self.samples is None else f'{self.samples} samples'}"


UNKNOWN = Basis()


def over_tasks(bases: Collection[Basis]) -> Basis:
    """Return the basis of a test over tasks, with the most seeds and draws of a task."""
    draws = [each.draws for each in bases if each.draws is not None]
    return Basis(
        tasks=len(bases),
        seeds=max((each.seeds for each in bases), default=0),
        is_uneven=len({each.seeds for each in bases}) > 1,
        # A task whose draws are unknown may have the most of them.
        draws=max(draws, default=None) if len(draws) == len(bases) else None,
        undrawn=sum(each.undrawn for each in bases),
        sparse=sum(each.sparse for each in bases),
        samples=next(iter(bases)).samples if len(bases) == 1 else None,
        is_divided=bool(bases) and all(each.is_divided for each in bases),
    )


def counted_units(n: int, unit: Unit) -> str:
    """Return a number of seeds or tasks in words: `one task`, `8 seeds`."""
    return f"one {unit}" if n == 1 else f"{n} {unit}s"
