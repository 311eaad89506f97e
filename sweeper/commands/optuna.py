"""Sweeps as studies of Optuna: in memory, or in a database for its dashboard."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.commands.result import Message, Result
from sweeper.ledger import EventKind, Ledger, SweepRecord
from sweeper.model import Study
from sweeper.planning.resuming import from_record
from sweeper.planning.sweep_folder import existing, started, without_password
from sweeper.search.optuna_study import SearchedStudy, SearchedTrial, write
from sweeper.spec.goals import Goals

Times = Mapping[tuple[str, int], tuple[float, float]]  # (study, number) -> first start, last end


@dataclass(frozen=True, kw_only=True)
class OptunaStudy(Result):
    """One study in a database of Optuna."""

    name: str
    trials: int
    added: int


@dataclass(frozen=True, kw_only=True)
class OptunaExport(Message):
    """The studies of a sweep in a database of Optuna."""

    sweep: str
    storage: str
    studies: tuple[OptunaStudy, ...]


def export(name: str, url: str) -> OptunaExport:
    """Write each study of a sweep into a database of Optuna, with its ended trials.

    A second call adds what is missing. Studies of another origin are never touched.

    Raises:
        NotFound: There is no such sweep.
        UsageError: The URL names no usable database, or a study of the same name has another
            origin.
        BackendUnreachable: The database does not answer.
    """
    with started(existing(name)) as (ledger, record):
        written = write(url, read_searched(ledger, record, ledger.studies()))
    shown = without_password(url)
    lines = [f"{each.name}: {each.trials} trials, {each.added} of them new" for each in written]
    lines.append(f"wrote {shown}; look at it with: optuna-dashboard {shlex.quote(shown)}")
    return OptunaExport(
        message="\n".join(lines),
        sweep=name,
        storage=shown,
        studies=tuple(OptunaStudy(**vars(each)) for each in written),
    )


def read_searched(
    ledger: Ledger, record: SweepRecord, studies: tuple[Study, ...]
) -> list[SearchedStudy]:
    """Return studies of a sweep with their trials of the search."""
    sweep, times = from_record(record), _times(ledger)
    parameters = {spec.name: spec.parameters for spec in sweep.studies}
    found = []
    for study in studies:
        measured = ledger.all_measurements(study.name)
        goals = Goals.of(record.resolved, study.objective)
        quantities = {} if goals.are_plain else ledger.quantities(study.name)
        trials = []
        for trial in ledger.trials(study.name):
            # Replicates and reruns would count a configuration several times.
            if trial.kind.is_searched:
                began, ended = times.get((study.name, trial.number), (None, None))
                trials.append(
                    SearchedTrial(
                        trial=trial,
                        measurements=measured.get(trial.number, ()),
                        quantities=quantities.get(trial.number, {}),
                        began=began,
                        ended=ended,
                    )
                )
        found.append(
            SearchedStudy(
                sweep=record.name,
                origin=record.fingerprint,
                study=study,
                parameters=parameters[study.name],
                trials=trials,
                goals=goals,
            )
        )
    return found


def _times(ledger: Ledger) -> Times:
    times: dict[tuple[str, int], tuple[float, float]] = {}
    for moment in ledger.timeline():
        if moment.study is None or moment.number is None:
            continue
        if moment.kind in (EventKind.ATTEMPT_STARTED, EventKind.ATTEMPT_ENDED):
            key = (moment.study, moment.number)
            began, _ = times.get(key, (moment.at, moment.at))
            times[key] = (began, moment.at)
    return times
