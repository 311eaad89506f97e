"""The runner of a sweep, which decides about the next trial, pruning and reactions to failures.

An executor owns the loop and asks for decisions. The runner commits each decision to the ledger
before it returns the decision, so that the decision survives the process.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isfinite
from typing import Any

from sweeper.core.deterministic import DeterministicRunner
from sweeper.core.equal_trainings import EqualTrainings
from sweeper.core.policies import (
    INFRASTRUCTURE_FAILURES,
    OWN,
    Action,
    FailureBudget,
    FailurePolicy,
    classify,
    without_numbers,
)
from sweeper.core.protocols import Hook
from sweeper.core.requests import name_of, objection, refused
from sweeper.core.stage_sharing import Building
from sweeper.core.study_runner import StudyPlan, StudyRunner
from sweeper.ledger import Ledger, Request, RequestKind
from sweeper.ledger.ledger import StaleAttempt
from sweeper.model import INFEASIBLE, Decision, Outcome, Trial, TrialKind, TrialState
from sweeper.text import printable
from trainables.report import Measurement

Key = tuple[str, int]  # (study, number)
LARGEST = 1e100  # of an objective: sums of larger ones, and their squares, can overflow
LOG_CHARS = 8000  # stored characters from the end of an error's text


class SweepRunner:
    """All studies of a sweep, for an executor.

    Args:
        can_halve: A function that returns whether a trial's micro-batches can be halved in a stage
            (None: in any stage).
    """

    def __init__(
        self,
        plans: Sequence[StudyPlan],
        ledger: Ledger,
        *,
        policy: FailurePolicy | None = None,
        budget: FailureBudget | None = None,
        hooks: Sequence[Hook] = (),
        out_of_time: Callable[[], bool] = lambda: False,
        can_halve: Callable[[Trial, str | None], bool] = lambda trial, stage: False,
    ) -> None:
        self._ledger = ledger
        self.studies: dict[str, StudyRunner] = {}
        building, equal = Building(), EqualTrainings()
        for plan in plans:  # a base comes before the arms that need it
            base = None if plan.base is None else self.studies[plan.base]
            kind = StudyRunner if plan.turns is None else DeterministicRunner
            self.studies[plan.study.name] = kind(
                plan, ledger, base=base, building=building, equal=equal
            )
        self._policy, self._budget = policy or FailurePolicy(), budget or FailureBudget()
        self._hooks = tuple(hooks)
        self.is_out_of_time, self._can_halve = out_of_time, can_halve
        self.aborted: str | None = None  # reason, if the sweep is hopeless
        self.paused: str | None = None  # reason, if no new trial may start at present
        self.limit: int | None = None  # concurrent trials, if other sweeps share the cluster
        self.slots: int | None = None  # concurrent trials, of the cluster as it is
        # Returns the seeds that each study needs after a look at so many; None: no look is left.
        self.look: Callable[[int], Mapping[str, int]] | None = None
        self.num_without_node = 0  # running trials that wait for a node with room
        self._draining = False
        self._lost: Counter[Key] = Counter()  # attempts at each trial, to the infrastructure
        self._last_error: dict[Key, str] = {}  # errors since the last epoch of each trial
        self._first_errors: dict[Key, str] = {}  # errors before the first epoch of the sweep
        # An earlier launch may have measured epochs. Then equal first errors of this one do not
        # show that no trial of the sweep can work.
        self._has_measured = any(t.checkpoint or t.value is not None for t in self.trials)
        self._failed = [t for t in self.trials if t.state is TrialState.FAILED]

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(t for study in self.studies.values() for t in study.trials.values())

    @property
    def num_planned(self) -> int:
        return sum(study.num_planned for study in self.studies.values())

    @property
    def num_settled(self) -> int:
        """The number of trials that have ended or are paused."""
        return sum(study.num_settled for study in self.studies.values())

    @property
    def num_running(self) -> int:
        return sum(study.num_running for study in self.studies.values())

    @property
    def is_ending(self) -> bool:
        """True if no further trial starts; running ones may finish."""
        return self.aborted is not None or self._draining or self.is_out_of_time()

    @property
    def is_done(self) -> bool:
        # The running trials of a hopeless sweep are not waited for.
        if self.aborted is not None:
            return True
        return not self.num_running if self.is_ending else self.are_searched

    @property
    def are_searched(self) -> bool:
        """True if all studies are done, whether or not the sweep ends before that."""
        return self.look is None and self._has_all

    @property
    def _has_all(self) -> bool:
        """True if all studies have the replicates that are due until a look."""
        return all(study.is_done for study in self.studies.values())

    @property
    def is_at_limit(self) -> bool:
        """True if no more trials may run: the cluster is full, or other sweeps share it."""
        most = [number for number in (self.limit, self.slots) if number is not None]
        return bool(most) and self.num_running >= min(most)

    @property
    def has_next(self) -> bool:
        """True if some trial waits for its start, may be promoted, or is still to be planned."""
        has_next = any(study.has_next for study in self.studies.values())
        return has_next or (self.look is not None and self._has_all)

    def watch(self, *hooks: Hook) -> None:
        """Call these hooks on each change from now on."""
        self._hooks = (*self._hooks, *hooks)

    def drain(self) -> None:
        """Let running trials finish, and start no new ones."""
        self._draining = True

    def next_trial(self) -> Trial | None:
        """Start and return a trial, or return None if none can start at present.

        A study on a lower rung of a ladder comes first. Then a study comes first if its trial need
        not wait for a stage that another trial builds, then the one with the fewest running trials,
        then the one with the fewest planned trials. Thus each sampler knows as many results as
        possible before a suggestion.
        """
        if self.paused or self.is_at_limit or self.is_ending:
            return None
        self._add_seeds()
        # After errors without any epoch, a new trial shows soonest whether all trials fail.
        rather_new = bool(self._first_errors) and not self._has_measured
        open_studies = [s for s in self.studies.values() if s.has_next]
        ranks = {
            s.name: (s.plan.rung, s.must_wait, s.num_running, len(s.trials)) for s in open_studies
        }
        waits: Trial | None = None
        for study in sorted(open_studies, key=lambda s: ranks[s.name]):
            trial = self._next_of(study, rather_new=rather_new)
            if trial is not None and not study.would_wait(trial):
                return self._start(trial)
            waits = waits or trial  # it stays planned if a trial of another study can start
        return None if waits is None else self._start(waits)

    def _next_of(self, study: StudyRunner, *, rather_new: bool) -> Trial | None:
        """Return the next trial of a study that has to train, after those that an equal one has."""
        while (trial := study.next_trial(rather_new=rather_new)) is not None:
            if (equal := study.equal_to(trial)) is None:
                break
            other = self.studies[equal[0]]
            self._notify(study.take_over(trial.number, other, other.trials[equal[1]]))
        return trial

    def _start(self, trial: Trial) -> Trial:
        started = self.studies[trial.study].start(trial.number)
        self._notify(started)
        return started

    def _add_seeds(self) -> None:
        """Look at the replicates once all that are due have ended, and let studies have more.

        A look depends on the ledger alone, so that a later driver repeats those of an earlier one.
        """
        while self.look is not None and self._has_all:
            wanted = self.look(max(study.num_seeds for study in self.studies.values()))
            growing = {s: n for s in self.studies.values() if (n := wanted[s.name]) > s.num_seeds}
            for study, count in growing.items():
                study.replicate(count)
            if not growing:
                self.look = None

    def on_report(self, trial: Trial, measurement: Measurement) -> Decision:
        """Record an epoch of a running trial; PRUNE and PAUSE mean that the attempt has to stop."""
        # Both checks come before the commit: a recorder could never ship such a record, and a value
        # that is not finite, or has no mean, can be neither ranked nor compared.
        if reason := refusal(measurement.metrics):
            self.on_failure(
                trial, f"{OWN}ConfigError: {reason}", reason=reason, stage=measurement.stage
            )
            return Decision.PRUNE
        study, value = self.studies[trial.study], measurement.objective
        if value is not None and not abs(value) < LARGEST:
            reason = f"{study.plan.study.objective} became {value} in epoch {measurement.epoch}"
            reason += f"; a penalty has to be below {LARGEST:g}" * isfinite(value)
            self.on_failure(
                trial, f"{OWN}NonFiniteLoss: {reason}", reason=reason, stage=measurement.stage
            )
            return Decision.PRUNE
        # Asked before `measure`, after which the ledger has each epoch.
        is_new = not study.has_measured(trial.number, measurement)
        try:
            decision = study.measure(trial.number, trial.attempt, measurement)
        except StaleAttempt:
            # A later attempt has taken over, so the process of this one has to stop.
            return Decision.PRUNE
        self._has_measured = True
        # An epoch that is only repeated is no progress: the same error after it counts as a repeat.
        if is_new:
            self._last_error.pop((trial.study, trial.number), None)
        now = study.trials[trial.number]
        # Hooks get the epoch of a running trial and then its end, although both are one commit.
        self._notify(replace(now, state=TrialState.RUNNING), measurement)
        if now.state.is_settled:
            self._notify(now)
        return decision

    def on_checkpoint(self, trial: Trial, checkpoint: str) -> None:
        """Record the newest complete checkpoint of a running trial."""
        with suppress(StaleAttempt):
            study = self.studies[trial.study]
            study.name_checkpoint(trial.number, trial.attempt, checkpoint)

    def on_failure(
        self,
        trial: Trial,
        error: str,
        *,
        reason: str | None = None,
        stage: str | None = None,
        log: str | None = None,
        died: bool = False,
    ) -> None:
        """Record the failure of an attempt.

        Args:
            trial: The trial of the attempt.
            error: The traceback or message.
            reason: The error in one line; None: the last line of `error`.
            stage: The stage of the error, if it is known.
            log: The text to store; None: the end of `error`.
            died: The process ended without a message. Then equal errors may be a coincidence.
        """
        failure = classify(error)
        # The last line of a traceback has the class and the message of the error.
        reason = reason or next((x for x in reversed(error.splitlines()) if x.strip()), failure)
        reason, key = reason.strip(), (trial.study, trial.number)
        kind = without_numbers(reason)
        now = self.studies[trial.study].trials[trial.number]
        # An equal error of a dead process may be a coincidence, so it does not count as a repeat.
        action = self._policy.respond(
            failure,
            now,
            repeats=not died and self._last_error.get(key) == kind,
            can_halve=self._can_halve(now, stage),
            has_begun=died or stage is not None,
            num_lost=self._lost[key],
        )
        self._lost[key] += failure in INFRASTRUCTURE_FAILURES
        self._last_error[key] = kind
        halvings = now.halvings + 1 if action is Action.HALVE else None
        outcome = Outcome(
            state=TrialState.FAILED if action is Action.FAIL else TrialState.WAITING,
            failure=failure,
            reason=reason,
            log=(log or error)[-LOG_CHARS:],
            counts=failure not in INFRASTRUCTURE_FAILURES,
            halvings=halvings,
        )
        if self._end(trial, outcome):
            self._judge(trial, outcome)

    def _judge(self, trial: Trial, outcome: Outcome) -> None:
        """Abort a sweep that fails from the start or too often."""
        key, reason = (trial.study, trial.number), outcome.reason or ""
        if outcome.counts and not self._has_measured:
            self._first_errors[key] = reason
            self.aborted = self.aborted or self._budget.systematic_error(self._first_errors)
        if outcome.state is TrialState.FAILED:
            self._failed.append(self.studies[trial.study].trials[trial.number])
            # A spent budget means fewer trials, but not more failures.
            wanted = sum(study.num_wanted for study in self.studies.values())
            self.aborted = self.aborted or self._budget.exceeded(self._failed, wanted)

    def on_infeasible(self, trial: Trial, error: str, *, reason: str) -> None:
        """Record that a trial cannot start with its settings.

        A sampled trial is pruned as infeasible. Any other trial has failed.
        """
        # A sampler may draw settings that contradict each other; those of others are the file's.
        if trial.kind is TrialKind.SAMPLED:
            self._end(trial, Outcome(state=TrialState.PRUNED, failure=INFEASIBLE, reason=reason))
        else:
            self.on_failure(trial, error, reason=reason)

    def on_note(self, trial: Trial, text: str) -> None:
        """Record a note about a trial for users."""
        self._ledger.note(text, trial.study, trial.number, trial.attempt)

    def obey(self, request: Request) -> str | None:
        """Obey or refuse a user's request about a trial; return what is new, in one sentence."""
        study = self.studies[request.study or ""]
        reason = objection(request, study.trials, study.plan.num_trials)
        # The search of a deterministic study has gone on from the failure, in its order of turns.
        if request.kind is RequestKind.RETRY_TRIAL and study.plan.turns is not None:
            reason = reason or "its search is deterministic: ask again once the sweep has ended"
        asked = f"{request.by} asked to {request.kind.replace('_', ' ')} {name_of(request)}"
        if reason is not None:
            self._ledger.answer(refused(request, reason))
            return f"{asked}: refused, {reason}."
        trial = study.obey(request)
        if trial is None:
            return f"{asked}." if request.is_open else None
        if request.kind is RequestKind.RETRY_TRIAL:
            # A retry by a user forgives all that came before it.
            key = (trial.study, trial.number)
            self._failed = [each for each in self._failed if (each.study, each.number) != key]
            self._first_errors.pop(key, None)
            self._last_error.pop(key, None)
            self._lost.pop(key, None)
        elif request.kind is RequestKind.SKIP_TRIAL:
            self._notify(trial)
        return f"{asked}."

    def interrupt(self, reason: str = "stopped by a signal") -> None:
        """End every running attempt as interrupted, so that it can be resumed."""
        self.drain()
        outcome = Outcome(state=TrialState.INTERRUPTED, reason=self.aborted or reason, counts=False)
        for trial in self.trials:
            if trial.state is TrialState.RUNNING:
                self._end(trial, outcome)

    def _end(self, trial: Trial, outcome: Outcome) -> bool:
        """End an attempt, and return whether it was the latest one; another's end says nothing."""
        try:
            ended = self.studies[trial.study].end(trial.number, trial.attempt, outcome)
        except StaleAttempt:
            return False
        self._notify(ended)
        return True

    def _notify(self, trial: Trial, measurement: Measurement | None = None) -> None:
        for hook in self._hooks:
            hook.changed(trial, measurement)


# Limits on the number and the names of metrics that every recorder accepts.
MAX_METRICS, MAX_NAME = 200, 250
NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


def refusal(metrics: Mapping[str, Any]) -> str | None:
    """Return the reason why a metric of a report is refused, or None if all are valid."""
    for count, (name, value) in enumerate(metrics.items(), start=1):
        shown = f"metric `{printable(str(name))}`"
        if count > MAX_METRICS:
            return f"too many metrics in a report: {shown} exceeds the limit of {MAX_METRICS}."
        if not isinstance(name, str) or len(name) > MAX_NAME or not _is_name(name):
            return (
                f"{shown}: a name is 1 to {MAX_NAME} letters, digits, _ . and -, in parts that / "
                "divides."
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{shown} is {printable(repr(value))}; a metric is a number."
    return None


def _is_name(text: str) -> bool:
    parts = text.split("/")
    return NAME.fullmatch(text) is not None and not {".", ".."} & set(parts)
