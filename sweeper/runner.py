"""The runner answers an executor's three questions: what next, go on, and how did it end.

It decides and never runs: the executor owns the loop. Every answer is committed to the ledger
before it is given, so that whatever was decided survives the process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sweeper.errors import SweeperError
from sweeper.ledger import Ledger
from sweeper.ledger.ledger import StaleAttempt
from sweeper.policies import FailureBudget, classify, is_retried
from sweeper.protocols import Observer, Sampler
from sweeper.study import Decision, Measurement, Params, Study, Trial, TrialKind, TrialState

INFEASIBLE = "infeasible"  # the class of failure of a trial that was pruned for its settings


class Infeasible(SweeperError):
    """A suggestion that contradicts itself: pruned with this reason, never an error."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A study and how to fill it. `complete` adds the fixed parameters to a suggestion.

    Raises (from `complete`):
        Infeasible: The suggestion contradicts itself.
    """

    study: Study
    leading: tuple[tuple[TrialKind, Params], ...]  # run first, never told to the sampler
    num_trials: int  # leading ones included
    sampler: Sampler
    complete: Callable[[Params], Params]
    trial_seed: Callable[[int], int]


class StudyRunner:
    """Plans and judges the trials of one study."""

    def __init__(self, plan: StudyPlan, ledger: Ledger) -> None:
        self.plan, self._ledger = plan, ledger
        self.name = plan.study.name
        self.trials: dict[int, Trial] = {t.number: t for t in ledger.trials(self.name)}
        for trial in self.trials.values():
            measurements = ledger.measurements(self.name, trial.number)
            if trial.kind is TrialKind.SAMPLED:
                plan.sampler.restore(trial, measurements)
            if trial.state.is_finished:
                continue
            if measurements and measurements[-1].is_final:  # its driver died before it said so
                self.end(
                    trial.number,
                    trial.attempt,
                    TrialState.COMPLETE,
                    test=_test_metrics(measurements[-1]),
                )
            else:
                self.trials[trial.number] = replace(trial, state=TrialState.WAITING)

    @property
    def num_running(self) -> int:
        return sum(t.state is TrialState.RUNNING for t in self.trials.values())

    @property
    def is_done(self) -> bool:
        planned = len(self.trials) >= self.plan.num_trials
        return planned and all(t.state.is_finished for t in self.trials.values())

    @property
    def has_next(self) -> bool:
        waiting = any(t.state is TrialState.WAITING for t in self.trials.values())
        return waiting or len(self.trials) < self.plan.num_trials

    def next_trial(self) -> Trial | None:
        """Returns a trial to run: one to be tried again, else a new one, else None."""
        for trial in self.trials.values():
            if trial.state is TrialState.WAITING:
                return trial
        while len(self.trials) < self.plan.num_trials:
            trial = self._plan_one(len(self.trials))
            if not trial.state.is_finished:
                return trial
        return None

    def _plan_one(self, number: int) -> Trial:
        """Plans trial `number`; an infeasible suggestion is pruned at once."""
        reason: str | None = None
        sampled: tuple[str, ...] = ()
        if number < len(self.plan.leading):
            kind, params = self.plan.leading[number]
        else:
            kind, params = TrialKind.SAMPLED, self.plan.sampler.ask(number)
            sampled = tuple(params)
            try:
                params = self.plan.complete(params)
            except Infeasible as error:
                reason = str(error)
        trial = Trial(
            study=self.name,
            number=number,
            kind=kind,
            params=params,
            sampled=sampled,
            seed=self.plan.trial_seed(number),
        )
        self._ledger.add_trial(trial)
        self.trials[number] = trial
        if reason is not None:
            attempt = self._ledger.start_attempt(self.name, number)
            self.end(number, attempt, TrialState.PRUNED, failure=INFEASIBLE, reason=reason)
        return self.trials[number]

    def start(self, number: int) -> Trial:
        """Begins an attempt at a trial."""
        attempt = self._ledger.start_attempt(self.name, number)
        trial = replace(self.trials[number], state=TrialState.RUNNING, attempt=attempt)
        self.trials[number] = trial
        return trial

    def measure(self, number: int, attempt: int, measurement: Measurement) -> Decision:
        """Takes in one epoch. Only one that reports the objective can prune."""
        self._ledger.measure(self.name, number, attempt, measurement)
        trial, value = self.trials[number], measurement.objective
        if measurement.checkpoint is not None:
            trial = replace(trial, checkpoint=measurement.checkpoint)
        if value is not None and (trial.value is None or value < trial.value):
            trial = replace(trial, value=value, best_epoch=measurement.epoch)
        self.trials[number] = trial
        if value is None or trial.kind is not TrialKind.SAMPLED:
            return Decision.CONTINUE
        prune = self.plan.sampler.should_prune(number, measurement)
        return Decision.PRUNE if prune and not measurement.is_final else Decision.CONTINUE

    def end(
        self,
        number: int,
        attempt: int,
        state: TrialState,
        *,
        failure: str | None = None,
        reason: str | None = None,
        log: str | None = None,
        test: dict[str, float] | None = None,
    ) -> Trial:
        """Ends an attempt; a finished state ends the trial, and the sampler learns of it."""
        self._ledger.end_attempt(
            self.name, number, attempt, state, failure=failure, reason=reason, log=log, test=test
        )
        trial = replace(
            self.trials[number], state=state, failure=failure, reason=reason, test=test or {}
        )
        self.trials[number] = trial
        if state.is_finished and trial.kind is TrialKind.SAMPLED:
            self.plan.sampler.tell(trial)
        return trial


class SweepRunner:
    """All studies of a sweep, behind the three questions."""

    def __init__(
        self,
        plans: Sequence[StudyPlan],
        ledger: Ledger,
        *,
        max_attempts: int = 3,
        budget: FailureBudget | None = None,
        observers: Sequence[Observer] = (),
        out_of_time: Callable[[], bool] = lambda: False,
    ) -> None:
        self.studies = {plan.study.name: StudyRunner(plan, ledger) for plan in plans}
        self._max_attempts = max_attempts
        self._budget = budget or FailureBudget()
        self._observers = observers
        self._out_of_time = out_of_time
        self.aborted: str | None = None  # why, once the sweep is hopeless

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(t for study in self.studies.values() for t in study.trials.values())

    @property
    def is_done(self) -> bool:
        if self.aborted is not None:
            return True
        if self._out_of_time():  # what runs may finish; nothing new starts
            return not any(s.num_running for s in self.studies.values())
        return all(s.is_done for s in self.studies.values())

    def next_trial(self) -> Trial | None:
        """Returns a trial that has just been started, or None if there is none at present.

        Takes from the study with the fewest running trials, then the fewest planned: so that each
        sampler has seen as much as it can before it suggests.
        """
        if self.aborted is not None or self._out_of_time():
            return None
        open_studies = [s for s in self.studies.values() if s.has_next]
        for study in sorted(open_studies, key=lambda s: (s.num_running, len(s.trials))):
            trial = study.next_trial()
            if trial is not None:
                started = study.start(trial.number)
                self._notify(started)
                return started
        return None

    def measured(self, trial: Trial, measurement: Measurement) -> Decision:
        """Takes in an epoch of a running trial; PRUNE means that it has been ended."""
        study = self.studies[trial.study]
        try:
            decision = study.measure(trial.number, trial.attempt, measurement)
        except StaleAttempt:
            return Decision.PRUNE
        self._notify(study.trials[trial.number], measurement)
        if measurement.is_final:
            self._end(trial, TrialState.COMPLETE, test=_test_metrics(measurement))
        elif decision is Decision.PRUNE:
            reason = f"worse than its peers at {measurement.stage} epoch {measurement.epoch}"
            self._end(trial, TrialState.PRUNED, reason=reason)
        return decision

    def failed(self, trial: Trial, error: str, *, reason: str | None = None) -> None:
        """Takes in that an attempt failed with `error` (a traceback or a message)."""
        failure = classify(error)
        reason = reason or next((x for x in reversed(error.splitlines()) if x.strip()), failure)
        again = is_retried(failure, attempt=trial.attempt, max_attempts=self._max_attempts)
        state = TrialState.WAITING if again else TrialState.FAILED
        self._end(trial, state, failure=failure, reason=reason.strip(), log=error[-8000:])
        self.aborted = self.aborted or self._budget.exceeded(self.trials)

    def refused(self, trial: Trial, error: str, *, reason: str) -> None:
        """Takes in that a trial cannot begin, since task, backbone or source cannot honour its
        settings: where they were sampled, an infeasible suggestion; else a failure."""
        if trial.kind is TrialKind.SAMPLED:
            self._end(trial, TrialState.PRUNED, failure=INFEASIBLE, reason=reason)
        else:
            self.failed(trial, error, reason=reason)

    def interrupt(self) -> None:
        """Ends every running attempt as interrupted, to be resumed."""
        reason = self.aborted or "stopped by a signal"
        for trial in self.trials:
            if trial.state is TrialState.RUNNING:
                self._end(trial, TrialState.INTERRUPTED, reason=reason)

    def _end(
        self,
        trial: Trial,
        state: TrialState,
        *,
        failure: str | None = None,
        reason: str | None = None,
        log: str | None = None,
        test: dict[str, float] | None = None,
    ) -> None:
        study = self.studies[trial.study]
        try:
            ended = study.end(
                trial.number,
                trial.attempt,
                state,
                failure=failure,
                reason=reason,
                log=log,
                test=test,
            )
        except StaleAttempt:
            return
        self._notify(ended)

    def _notify(self, trial: Trial, measurement: Measurement | None = None) -> None:
        for observer in self._observers:
            observer.changed(trial, measurement)


def _test_metrics(measurement: Measurement) -> dict[str, float]:
    return {k: v for k, v in measurement.metrics.items() if k.startswith("test/")}
