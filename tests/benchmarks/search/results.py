"""Saved runs, and what they say: regret along the budget, wins by task, and the share of a budget.

A cell is one arm on one task at one number of workers, with all its seeds: one Parquet file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from sweeper.render.page.curves import THICK, THIN
from sweeper.render.page.figures import colours
from sweeper.render.page.plot import Axis, Figure, Series
from tests.benchmarks.search.arms import ARMS, BY_TRIALS
from tests.benchmarks.search.simulation import simulate
from tests.benchmarks.search.tasks import Floats, Task

TRAININGS = 16  # whole ones that the budget of epochs pays for
MAX_BUDGETS = 4  # budgets that an arm spends at most which ends after a number of trials
DRAWS = 10_000  # of a bootstrap
PLACES = np.linspace(0, 1, 41)[1:]  # shares of the budget at which regret is recorded


@dataclass(frozen=True)
class Cell:
    """The regret of an arm on a task: [seeds, places], by epochs and by the virtual clock."""

    by_epochs: Floats
    by_seconds: Floats
    search_seconds: float  # mean of a run
    num_trials: float  # mean of a run
    share: float  # of the budget of epochs that a run spends, mean
    last: float  # regret at the end of a run, mean

    def along(self, axis: str) -> Floats:
        """Return the mean regret over seeds at each place, by `epochs` or `seconds`."""
        return (self.by_epochs if axis == "epochs" else self.by_seconds).mean(axis=0)


def run_cell(arm: str, task: Task, *, workers: int, seeds: int, file: Path) -> None:
    """Simulate an arm on a task for some seeds, and save its regret. Saved seeds are kept."""
    rows = parquet.read_table(file).to_pylist() if file.exists() else []
    budget = TRAININGS * task.num_epochs
    epochs = MAX_BUDGETS * budget if arm in BY_TRIALS else budget
    wall = budget * task.scale.epoch_seconds / workers
    for seed in range(task.first_seed + len(rows), task.first_seed + seeds):
        with ARMS[arm](task, seed) as search:
            trace = simulate(search, task, workers=workers, epochs=epochs)
        rows.append(
            {
                "seed": seed,
                "by_epochs": [task.scale.regret(trace.after_epochs(p * budget)) for p in PLACES],
                "by_seconds": [task.scale.regret(trace.after_seconds(p * wall)) for p in PLACES],
                "search_seconds": trace.search_seconds,
                "num_trials": trace.num_trials,
                "share": len(trace.errors) / budget,
                "last": task.scale.regret(trace.errors[-1]),
            }
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), file)


def path_of(folder: Path, arm: str, task: Task, workers: int) -> Path:
    """Return the file of a cell."""
    return folder / f"{workers} workers" / arm / f"{task.name}.parquet"


def read_cells(
    folder: Path, tasks: Sequence[Task], workers: int, seeds: int
) -> dict[str, dict[str, Cell]]:
    """Return the saved cells of each arm, by task; arms without all tasks are left out."""
    found: dict[str, dict[str, Cell]] = {}
    for arm in ARMS:
        files = {task.name: path_of(folder, arm, task, workers) for task in tasks}
        if all(file.exists() for file in files.values()):
            found[arm] = {name: _read(file, seeds) for name, file in files.items()}
    return found


def _read(file: Path, seeds: int) -> Cell:
    columns = parquet.read_table(file).slice(0, seeds).to_pydict()
    return Cell(
        by_epochs=np.array(columns["by_epochs"]),
        by_seconds=np.array(columns["by_seconds"]),
        search_seconds=float(np.mean(columns["search_seconds"])),
        num_trials=float(np.mean(columns["num_trials"])),
        share=float(np.mean(columns["share"])),
        last=float(np.mean(columns["last"])),
    )


def needed(ours: Floats, goal: float) -> float:
    """Return the least share of the budget with a regret of at most `goal`; inf if there is none.

    Args:
        ours: [places], the mean regret of a task.
        goal: The regret to reach.
    """
    reached = np.flatnonzero(ours <= goal)
    return float(PLACES[reached[0]]) if len(reached) else float("inf")


def interval_of_mean(values: Floats) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by a bootstrap over the values of tasks."""
    drawn = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def within(pairs: Sequence[tuple[Cell, Cell]], axis: str) -> tuple[int, int, int]:
    """Return on how many tasks 60 % of the budget suffice, with a 95 % interval over seeds.

    They suffice if an arm then has the regret of the baseline at the end. All tasks, and both arms,
    draw the same seeds, since tasks of one space may share their random configurations.

    Args:
        pairs: The cells of the arm and of the baseline on each task.
        axis: `epochs` or `seconds`.
    """
    names = {"epochs": "by_epochs", "seconds": "by_seconds"}
    found = [[np.asarray(getattr(cell, names[axis])) for cell in pair] for pair in pairs]
    seeds = min(len(each) for pair in found for each in pair)
    ours, theirs = (np.array([pair[k][:seeds] for pair in found]) for k in (0, 1))
    drawn = np.random.default_rng(0).integers(seeds, size=(1000, seeds))
    counts = [
        sum(needed(c, g) <= 0.6 for c, g in zip(
            ours[:, chosen].mean(axis=1), theirs[:, chosen, -1].mean(axis=1), strict=True))
        for chosen in (np.arange(seeds), *drawn)
    ]  # fmt: skip
    low, high = np.quantile(counts[1:], (0.025, 0.975), method="nearest")
    return counts[0], int(low), int(high)


def table(cells: Mapping[str, Mapping[str, Cell]], baseline: str, axis: str) -> Iterator[str]:
    """Yield a Markdown table: the regret of each arm, and its paired difference to a baseline.

    Tasks are the unit: medians over tasks of means over seeds. The mean difference has a 95 %
    interval over tasks, and the count of tasks within 60 % of the budget one over seeds.
    """
    yield (f"| arm | seeds | at 25 % | 50 % | 100 % | tasks better, worse | minus {baseline} | "
           "tasks within 60 % | search, s | trials | budget spent | at its end |")  # fmt: skip
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    goals = {task: cell.along(axis)[-1] for task, cell in cells[baseline].items()}
    for arm, by_task in cells.items():
        curves = np.array([cell.along(axis) for cell in by_task.values()])
        quarter, half, full = np.median(curves[:, [9, 19, 39]], axis=0)
        less = curves[:, -1] - list(goals.values())
        lowest, highest = interval_of_mean(less)
        count, *counts = within([(by_task[t], cells[baseline][t]) for t in by_task], axis)
        seeds = {len(cell.by_epochs) for cell in by_task.values()}
        seconds = np.mean([cell.search_seconds for cell in by_task.values()])
        trials = np.mean([cell.num_trials for cell in by_task.values()])
        share = np.mean([cell.share for cell in by_task.values()])
        last = np.median([cell.last for cell in by_task.values()])
        yield (
            f"| {arm} | {min(seeds)} | {quarter:.3f} | {half:.3f} | {full:.3f} | "
            f"{sum(less < 0)}, {sum(less > 0)} | {less.mean():+.3f} ({lowest:+.3f}..{highest:+.3f})"
            f" | {count} ({counts[0]}-{counts[1]}) of {len(goals)} | "
            f"{seconds:.2f} | {trials:.0f} | {share:.0%} | {last:.3f} |"
        )


def figure(cells: Mapping[str, Mapping[str, Cell]], axis: str, workers: int) -> Figure:
    """Return the figure of the regret: medians over tasks, and 95 % intervals by a bootstrap."""
    palette = colours(list(cells))
    drawn: list[Series] = []
    values: list[float] = []
    for arm, by_task in cells.items():
        curves = np.array([cell.along(axis) for cell in by_task.values()])  # [tasks, places]
        middle, low, high = _median_with_interval(curves)
        drawn += [
            _line(arm, palette[arm], low, width=THIN, opacity=0.35),
            _line(arm, palette[arm], high, width=THIN, opacity=0.35),
            _line(arm, palette[arm], middle, width=THICK, opacity=1),
        ]
        values += [*low, *high]
    shown = {"epochs": "epochs", "seconds": "simulated wall time"}[axis]
    return Figure(
        caption=f"{workers} workers: normalised regret of the incumbent by {shown}",
        series=tuple(drawn),
        x=Axis(title=f"share of the budget of {TRAININGS} trainings", kind="shares"),
        y=Axis(title="regret, median over tasks"),
    )


def _median_with_interval(curves: Floats) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(curves), size=(2000, len(curves)))
    medians = np.median(curves[drawn], axis=1)
    low, high = np.quantile(medians, (0.025, 0.975), axis=0)
    return np.median(curves, axis=0), low, high


def _line(arm: str, colour: str, y: Floats, *, width: float, opacity: float) -> Series:
    return Series(
        name=arm, colour=colour, x=tuple(PLACES), y=tuple(y), line="straight", width=width,
        opacity=opacity,
    )  # fmt: skip
