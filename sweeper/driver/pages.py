"""Notes, metrics and files of the runs of a sweep in MLflow, read from the ledger on demand."""

import re
from collections.abc import Mapping
from functools import lru_cache

from sweeper.ledger import Ledger
from sweeper.render import mlflow
from sweeper.render.page.report import sweep_page
from sweeper.results.compare import compare_studies
from sweeper.results.comparison import Comparison
from sweeper.results.read import read_sweep
from sweeper.results.schema import StudyResult, SweepResult
from sweeper.results.usage import read_usage

UNFIT = re.compile(r"[^/\w.\- :]")  # what MLflow refuses in a name: arms have `=` and `,`

Read = tuple[SweepResult[StudyResult], Comparison]


def note(ledger: Ledger, study: str | None) -> str:
    """Return Markdown on the result of a study or, for None, of the sweep."""
    sweep = read_sweep(ledger, histories=False)  # slow to read, and not needed here
    if study is not None:
        return mlflow.study_note(_of(sweep, study))
    # At the end, metrics and files need the whole sweep as well, so it is read once for all.
    has_ended = sweep.record.state not in ("new", "running")
    if has_ended:
        return mlflow.sweep_note(_read(ledger)[1], has_ended=True)
    comparison = compare_studies(sweep.studies, sweeps=[ledger.name])
    return mlflow.sweep_note(comparison, has_ended=False)


def summary(ledger: Ledger, study: str | None) -> Mapping[str, float]:
    """Return the metrics of a study or, for None, the average ranks of the sweep's methods."""
    sweep, comparison = _read(ledger)
    if study is None:
        ranks = comparison.ranks.items()
        return {f"average_rank/{UNFIT.sub('_', label)}": rank for label, rank in ranks}
    tuned = _of(sweep, study)
    on_task = [each for each in sweep.studies if each.study.task == tuned.study.task]
    return mlflow.study_summary(tuned, on_task)


def files(ledger: Ledger, study: str | None) -> Mapping[str, str]:
    """Return artifacts by file name, of a study or, for None, of the sweep."""
    sweep, comparison = _read(ledger)
    if study is None:
        return mlflow.sweep_files(sweep, comparison, read_usage(ledger))
    tuned = _of(sweep, study)
    on_task = compare_studies(sweep.studies, sweeps=[ledger.name], tasks=[tuned.study.task])
    return mlflow.study_files(tuned, on_task)


def report_of(ledger: Ledger, *, version: int | None = None) -> str:
    """Return the page about a whole sweep.

    Args:
        ledger: The ledger of the sweep.
        version: The number of a page that is updated while it is open; None: of one that is not.

    Raises:
        NotFound: The sweep was never started.
    """
    sweep, comparison = _read(ledger)
    return sweep_page(sweep, comparison, read_usage(ledger), version=version)


def _read(ledger: Ledger) -> Read:
    # Events are only appended, so their number shows whether the ledger has changed.
    return _read_once(ledger, ledger.count_events())


@lru_cache(maxsize=1)  # at the end of a sweep, each study needs the same
def _read_once(ledger: Ledger, num_events: int) -> Read:
    sweep = read_sweep(ledger)
    return sweep, compare_studies(sweep.studies, sweeps=[ledger.name])


def _of(sweep: SweepResult[StudyResult], study: str) -> StudyResult:
    (found,) = (each for each in sweep.studies if each.study.name == study)
    return found
