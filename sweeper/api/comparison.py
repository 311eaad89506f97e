"""The comparison of methods for Python programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.commands import results
from sweeper.planning.sweep_folder import name_of
from sweeper.results import comparison as records
from sweeper.results import verdicts

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(records.Comparison):
    """The methods of one or several sweeps on each task and over all tasks.

    It is the record from which `sweeper compare` makes its page, with a table for notebooks.
    """

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        return verdicts.headline(self)

    def methods(self) -> "pd.DataFrame":
        """Return a row for each method on each task, and for each control with values.

        Columns: task, method, is_control, metric, test (the mean over seeds), ci_low, ci_high,
        seeds, sd, floor (of the best predictor without a network), floor_predictor, validation,
        rises, jaggedness, trial, trials, epochs, device_seconds.
        """
        from sweeper.render.frames import as_frame, method_rows

        return as_frame(method_rows(self), {})

    def __repr__(self) -> str:
        return f"{', '.join(self.sweeps)}: {self.answer}"

    def _repr_html_(self) -> str:
        from sweeper.render.notebook import comparison_html

        return comparison_html(self)


def compare(
    sweeps: str | Sequence[str],
    *,
    tasks: str | Sequence[str] = (),
    baseline: str | None = None,
    by: str | None = None,
) -> Comparison:
    """Compare the methods of sweeps over paired seeds.

        sweeper.compare(["pare_pdebench", "mona_pdebench"]).methods()

    Args:
        sweeps: Names of sweeps in ./sweeps, or the paths of their folders.
        tasks: Only these tasks; if empty, all tasks.
        baseline: Compare each method with this one only, or with its own `control`.
        by: Compare the levels of this factor of an ablation, such as `refine.freeze`.

    Raises:
        NotFound: A sweep does not exist or was never started.
        UsageError: A task, method or factor is not known here, or a sweep is named twice.
    """
    names, tasks = ([each] if isinstance(each, str) else list(each) for each in (sweeps, tasks))
    names = [name_of(each) for each in names]
    found = results.compare(names, tasks=tasks, baseline=baseline, by=by).comparison
    return Comparison(**vars(found))
