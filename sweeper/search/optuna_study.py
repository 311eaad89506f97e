"""Studies of a sweep as studies of Optuna, for its visualizations and its dashboard.

Only trials of the search are in them; replicates and reruns would count configurations twice. The
names of the parameters are ours. A trial of ours that sampled nothing, such as the preset, has the
searched parameters whose values lie in their ranges. Everything else is in its user attributes.
All objectives are minimised. Constraints are violations: a trial keeps those that are 0 or less.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.study import StudyDirection, StudySummary
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from sweeper.errors import BackendUnreachable, UsageError
from sweeper.model import Study, Trial, TrialState
from sweeper.search.factories import experimental
from sweeper.search.optuna_sampler import PLAIN, STATES, constraint_attributes
from sweeper.search.spaces import distribution_of
from sweeper.spec.distributions import Distribution, is_active
from sweeper.spec.goals import Goals
from sweeper.text import without_nonfinite
from trainables.report import Measurement

NUMBER = "trial"  # user attribute of a trial: its number in our study
ORIGIN = "sweeper"  # user attribute of a study: the fingerprint of the sweep that wrote it
VERSION_TABLE = "version_info"  # in every database of Optuna
EXAMPLE = "sqlite:///optuna.db"
OPTION = "--optuna"


@dataclass(frozen=True, kw_only=True)
class SearchedTrial:
    """A trial of the search with its measurements, and its times in seconds since 1970.

    It has quantities if the search has goals, and if an attempt has ended.
    """

    trial: Trial
    measurements: Sequence[Measurement] = ()
    quantities: Mapping[str, float] = field(default_factory=dict)
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, kw_only=True)
class SearchedStudy:
    """A study of a sweep, with its searched parameters and its trials in their order."""

    sweep: str
    origin: str  # the fingerprint of the sweep
    study: Study
    parameters: Mapping[str, Distribution]
    trials: Sequence[SearchedTrial] = field(default_factory=tuple)
    goals: Goals = PLAIN

    @property
    def attributes(self) -> dict[str, str]:
        """The user attributes of the study in Optuna."""
        study = self.study
        names = {"method": study.method, "task": study.task, "objective": study.objective}
        return {ORIGIN: self.origin, "sweep": self.sweep, "study": study.name, **names}


def in_memory(searched: SearchedStudy) -> optuna.Study:
    """Return a study of Optuna with the trials of one of ours; all its directions are minimize."""
    study = _create(searched, searched.study.name)
    study.add_trials(frozen_trials(searched))
    return study


def _create(
    searched: SearchedStudy, name: str, storage: optuna.storages.BaseStorage | None = None
) -> optuna.Study:
    """Create a study of Optuna without trials: with its directions, names and attributes."""
    study = optuna.create_study(
        study_name=name, storage=storage, directions=_directions(searched.goals)
    )
    if searched.goals.has_several:
        with experimental():
            study.set_metric_names(list(searched.goals.objectives))
    for key, value in searched.attributes.items():
        study.set_user_attr(key, value)
    return study


def _directions(goals: Goals) -> list[StudyDirection]:
    return [StudyDirection.MINIMIZE] * max(1, len(goals.objectives))


def frozen_trials(searched: SearchedStudy) -> list[FrozenTrial]:
    """Return the trials of a study as those of Optuna, in the order of their numbers."""
    return [_frozen(each, searched, place) for place, each in enumerate(searched.trials)]


def _frozen(each: SearchedTrial, searched: SearchedStudy, place: int) -> FrozenTrial:
    trial, goals = each.trial, searched.goals
    reached = _reached(each, goals)
    state = _state(trial, reached, goals)
    values = {m.epoch: m.objective for m in each.measurements if m.objective is not None}
    has_begun, began = state is not OptunaState.WAITING, _time(each.began)
    params = _searched_params(trial, searched.parameters) if has_begun else {}
    return FrozenTrial(
        number=place,
        trial_id=place,
        state=state,
        value=None,
        values=_values(state, reached, values),
        datetime_start=began if has_begun else None,
        datetime_complete=max(_time(each.ended), began) if state.is_finished() else None,
        params=params,
        distributions={name: distribution_of(searched.parameters[name]) for name in params},
        user_attrs=_attributes(trial, params),
        system_attrs=constraint_attributes(goals.violations(each.quantities))
        if each.quantities
        else {},
        intermediate_values=values,
    )


def _reached(each: SearchedTrial, goals: Goals) -> list[float] | None:
    """Return the value of each objective, or None if one of them is unknown."""
    if not goals.has_several:
        return None if each.trial.value is None else [each.trial.value]
    values = [each.quantities[name] for name in goals.objectives if name in each.quantities]
    return values if len(values) == len(goals.objectives) else None


def _state(trial: Trial, reached: Sequence[float] | None, goals: Goals) -> OptunaState:
    """Return the state of a trial in Optuna, which has no complete trial without all its values.

    With several objectives it has no pruned one either: the only ones of ours have settings that
    contradict each other, and count as failed.
    """
    if trial.state is TrialState.WAITING:
        return OptunaState.WAITING
    state = STATES.get(trial.state, OptunaState.RUNNING)
    has_values = reached is not None and not any(map(math.isnan, reached))
    is_complete = state is OptunaState.COMPLETE
    if (is_complete and not has_values) or (state is OptunaState.PRUNED and goals.has_several):
        return OptunaState.FAIL
    return state


def _values(
    state: OptunaState, reached: Sequence[float] | None, values: Mapping[int, float]
) -> Sequence[float] | None:
    """Return the values of a trial: the best ones; of a pruned one the last, as in Optuna."""
    if state is OptunaState.COMPLETE:
        return reached
    # Optuna takes the last reported value for that of a pruned trial, also if it is not the best.
    last = values[max(values)] if values else math.nan
    return [last] if state is OptunaState.PRUNED and not math.isnan(last) else None


def _searched_params(
    trial: Trial, parameters: Mapping[str, Distribution]
) -> dict[str, float | int | str | bool | None]:
    """Return the values of the searched parameters that a trial has and that are in range."""
    found: dict[str, Any] = {}
    for name, distribution in parameters.items():
        if name in trial.params and is_active(distribution, trial.params):
            value = trial.params[name]
            if distribution.contains(value):
                found[name] = value
    return found


def _attributes(trial: Trial, params: Mapping[str, object]) -> dict[str, Any]:
    others = {name: value for name, value in trial.params.items() if name not in params}
    # A seed has 63 bits, and a reader of JSON may take numbers for floats.
    named = {"kind": trial.kind.value, "seed": str(trial.seed), "best_epoch": trial.best_epoch}
    named |= {"failure": trial.failure, "reason": trial.reason}
    given = {name: value for name, value in named.items() if value is not None}
    return dict(without_nonfinite({NUMBER: trial.number, **given, **trial.test, **others}))


def _time(seconds: float | None) -> datetime:
    """Return a time as Optuna has it: local, without a zone."""
    return datetime.fromtimestamp(seconds or 0.0)


# A database of Optuna


@dataclass(frozen=True, kw_only=True)
class Written:
    """One study in a database of Optuna."""

    name: str  # in Optuna: SWEEP/STUDY
    trials: int
    added: int  # trials that were not there, or were others there


def write(url: str, studies: Sequence[SearchedStudy]) -> list[Written]:
    """Write studies into a database of Optuna, which is created if necessary.

    Only ended trials are written. What an earlier call wrote stays, unless a trial has changed
    since, as by a retry: then its study is written anew.

    Raises:
        UsageError: The URL names no usable database, or a study of this name has another origin.
            Then nothing was written.
        BackendUnreachable: The database does not answer.
    """
    storage = open_database(url)
    with _as_errors(url, OPTION):
        there = {each.study_name: each for each in optuna.get_all_study_summaries(storage)}
        # All are checked before the first is written, so that a refusal
        # leaves the database as it was.
        for each in studies:
            _check_is_ours(each, there.get(name_of(each)), storage)
        return [_write(each, name_of(each) in there, storage) for each in studies]


def name_of(searched: SearchedStudy) -> str:
    """Return the name of a study in a database of Optuna: SWEEP/STUDY."""
    return f"{searched.sweep}/{searched.study.name}"


def _check_is_ours(
    searched: SearchedStudy, there: StudySummary | None, storage: optuna.storages.BaseStorage
) -> None:
    """Check that a study of this name, if there is one, is an earlier export of the same sweep.

    Raises:
        UsageError: It is not, or it has trials that were added to it.
    """
    if there is None:
        return
    if there.user_attrs.get(ORIGIN) != searched.origin:
        raise UsageError(
            f"the database has a study `{there.study_name}` of another origin, which stays as it "
            "is: name another database, or rename that study."
        )
    study = optuna.load_study(study_name=there.study_name, storage=storage)
    if any(NUMBER not in trial.user_attrs for trial in study.get_trials(deepcopy=False)):
        raise UsageError(
            f"study `{there.study_name}` in the database has trials that no export wrote: name "
            "another database."
        )


def _write(
    searched: SearchedStudy, is_there: bool, storage: optuna.storages.BaseStorage
) -> Written:
    name = name_of(searched)
    wanted = [trial for trial in frozen_trials(searched) if trial.state.is_finished()]
    numbers = {trial.user_attrs[NUMBER]: trial for trial in wanted}
    had: dict[int, FrozenTrial] = {}
    if is_there:
        study = optuna.load_study(study_name=name, storage=storage)
        had = {t.user_attrs[NUMBER]: t for t in study.get_trials(deepcopy=False)}
        # Optuna changes neither directions nor ended trials: such a study is
        # deleted and written anew.
        is_other = study.directions != _directions(searched.goals)  # of another sweep
        if is_other or any(
            n not in numbers or _facts(t) != _facts(numbers[n]) for n, t in had.items()
        ):
            optuna.delete_study(study_name=name, storage=storage)
            is_there, had = False, {}
    if not is_there:
        study = _create(searched, name, storage)
    added = [trial for number, trial in numbers.items() if number not in had]
    study.add_trials(added)
    return Written(name=name, trials=len(wanted), added=len(added))


def _facts(trial: FrozenTrial) -> tuple[object, ...]:
    # A NaN is not equal to itself, and would have its study written anew each
    # time. Its text is equal.
    curve = sorted((step, repr(value)) for step, value in trial.intermediate_values.items())
    attributes = {name: repr(value) for name, value in sorted(trial.user_attrs.items())}
    constraints = {name: repr(value) for name, value in sorted(trial.constraints.items())}
    return trial.state, repr(trial.values), trial.params, curve, attributes, constraints


def open_database(
    url: str, *, what: str = OPTION, may_create: bool = True
) -> optuna.storages.BaseStorage:
    """Open a database of Optuna, or set one up in an empty database.

    Args:
        url: Its URL.
        what: What messages call it.
        may_create: False: an empty database is refused, too.

    Raises:
        UsageError: The URL does not name one, or the database has tables of another program.
        BackendUnreachable: The database does not answer.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except (ArgumentError, ValueError, ImportError) as error:
        raise UsageError(  # the URL is not shown: it may contain a password
            f"{what}: not the URL of a database that can be opened here; write it as {EXAMPLE} "
            "or postgresql+psycopg://user@host/name."
        ) from error
    with _as_errors(url, what):
        tables = inspect(engine).get_table_names()
        engine.dispose()
        if (tables or not may_create) and VERSION_TABLE not in tables:
            raise UsageError(
                f"{what}: the database has tables of another program, and none of Optuna: name "
                f"another one, such as {EXAMPLE}."
            )
        return optuna.storages.RDBStorage(url)


@contextmanager
def _as_errors(url: str, what: str) -> Iterator[None]:
    """Convert errors of a database into errors for users, without its URL."""
    try:
        yield
    except RuntimeError as error:  # tables of another version of Optuna
        raise UsageError(f"{what}: {error}") from error
    except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error.__cause__
        text = f"{what}: the database cannot be opened or written: {reason or error}"
        if make_url(url).get_backend_name() == "sqlite":
            raise UsageError(f"{text}. Name a file in a folder that can be written.") from error
        raise BackendUnreachable(text) from error
    except SQLAlchemyError as error:
        raise BackendUnreachable(f"{what}: {error}") from error
