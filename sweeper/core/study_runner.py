"""The runner of one study: plans and decisions, each committed before it is returned."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from sweeper.core.budget import Spending, StudyBudget, ended_early
from sweeper.core.equal_trainings import EqualTrainings, Key, Training, as_taken_over
from sweeper.core.promotion import PromotionRule, PromotionSchedule
from sweeper.core.protocols import Sampler
from sweeper.core.quantities import Quantities, read_quantities
from sweeper.core.replication import Replication, missing, origins
from sweeper.core.requests import accepted, ended_by, obeyed, suggested
from sweeper.core.stage_sharing import Building, SharedStages, SharingSchedule
from sweeper.errors import SweeperError
from sweeper.ledger import Answer, Ledger, Request, RequestKind
from sweeper.ledger.ledger import StaleAttempt
from sweeper.model import (
    CONSTRAINT,
    DRIVER_DIED,
    INFEASIBLE,
    OF_NO_USE,
    AttemptEnded,
    AttemptStarted,
    CheckpointNamed,
    Decision,
    EpochMeasured,
    Outcome,
    Params,
    SamplerState,
    Study,
    Trial,
    TrialKind,
    TrialQueued,
    TrialState,
    apply,
)
from sweeper.spec.goals import Goals
from trainables.report import Measurement


class Infeasible(SweeperError):
    """A suggestion with contradictory settings, which is pruned and not an error."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A study and its future trials. `complete` adds the fixed parameters to a suggestion.

    `on_base` makes the settings of the arm of an ablation from those of the best trial of its base.

    Raises (from `complete` and `on_base`):
        Infeasible: The settings contradict each other.
    """

    study: Study
    leading: tuple[tuple[TrialKind, Params], ...]  # run first, and not reported to the sampler
    num_trials: int  # including the leading trials
    sampler: Sampler
    complete: Callable[[Params], Params]
    trial_seed: Callable[[int], int]
    replication: Replication | None = None  # after the search
    stages: SharedStages = field(default_factory=SharedStages)  # of sampled trials
    promotion: PromotionRule = field(default_factory=PromotionRule)  # of sampled trials
    base: str | None = None  # the study that is searched before this one
    rung: int = 0  # of a ladder: trials of lower rungs start first
    budget: StudyBudget = field(default_factory=StudyBudget)  # of the search
    on_base: Callable[[Params], Params] = lambda params: params
    first: Sequence[Params] = ()  # values of the first sampled trials; the sampler draws the rest
    goals: Goals = field(default_factory=Goals)  # none: the objective of the study alone
    turns: int | None = None  # virtual slots of a deterministic search (`deterministic.py`)
    training: Callable[[Trial], Training | None] = lambda trial: None  # that equal trials share


class StudyRunner:
    """The trials of one study, restored from the ledger. Trials of a dead driver wait again.

    Args:
        base: The runner of the study that comes before this one, if the plan names one.
        building: The stages that trials of all studies of the sweep build.
        equal: The equal trainings of all studies of the sweep.
    """

    def __init__(
        self,
        plan: StudyPlan,
        ledger: Ledger,
        *,
        base: "StudyRunner | None" = None,
        building: Building | None = None,
        equal: EqualTrainings | None = None,
    ) -> None:
        self.plan, self._ledger, self._base = plan, ledger, base
        self._equal = equal or EqualTrainings()
        self._trainings: dict[int, Training | None] = {}  # by number of the trial
        self.name = plan.study.name
        self.trials: dict[int, Trial] = {t.number: t for t in ledger.trials(self.name)}
        self._num_searched = 0
        self._num_found = sum(
            t.kind.is_searched and t.state.is_finished for t in self.trials.values()
        )
        self.num_finished = sum(t.state.is_finished for t in self.trials.values())
        self.replication, self.num_seeds = plan.replication, 0
        self.replicate(None if plan.replication is None else plan.replication.first)
        self.num_running = 0
        self._waiting: list[int] = []
        self.spending = Spending(plan.budget)
        self._promotion = PromotionSchedule(plan.promotion)
        self._active: set[int] = set()  # sampled trials that run or wait
        # Accepted requests by trial, until it ends or would begin.
        self._stops: dict[int, Request] = {}
        self._skips: dict[int, Request] = {}
        self._num_complete = 0  # and feasible, of the sampler
        self._schedule = SharingSchedule(plan.stages, building)
        measurements = ledger.all_measurements(self.name) if self.trials else {}
        self._quantities: dict[int, Quantities] = {}  # if there are goals
        if not plan.goals.are_plain:
            self._quantities = read_quantities(ledger, self.name, measurements)
        self.epochs: dict[int, set[tuple[str, int]]] = {}  # measured ones of unfinished trials
        self._restore_stages(measurements)
        if self.trials:
            plan.sampler.restore_study(ledger.sampler_state(self.name))
            self._restore_search(measurements)
        # Attempts of a dead driver end after the schedule and the sampler are complete.
        for trial in tuple(self.trials.values()):
            if trial.state is TrialState.RUNNING:
                # `end` counts it down again.
                self.num_running += 1
                self.end(trial.number, trial.attempt, DRIVER_DIED)
            if not trial.state.is_settled:
                self.trials[trial.number] = apply(self.trials[trial.number], TrialQueued())
                self._waiting.append(trial.number)

    def _restore_stages(self, measurements: Mapping[int, tuple[Measurement, ...]]) -> None:
        """Restore the epochs of trials, the stages that they share and the equal trainings."""
        for trial in self.trials.values():
            measured = measurements.get(trial.number, ())
            if not trial.state.is_finished:
                self.epochs[trial.number] = {(m.stage, m.epoch) for m in measured}
            self._schedule.add(trial)
            for measurement in measured:
                self._schedule.measure(trial, measurement)
            if trial.attempt:
                self._equal.follow(trial, self._training(trial))

    def _restore_search(self, measurements: Mapping[int, tuple[Measurement, ...]]) -> None:
        """Restore the sampler, the promotion and the budget. `measurements` are those by trial."""
        observed: dict[int, dict[str, float]] = {}
        if not self.plan.goals.are_plain:
            observed = self._ledger.quantities(self.name)
        self.spending = Spending.read(
            self.plan.budget, self._ledger, self.name, self.trials.values()
        )
        for trial in self.trials.values():
            self._num_searched += trial.kind.is_searched
            self._num_complete += _is_complete(trial)
            if trial.kind is TrialKind.SAMPLED:
                measured = measurements.get(trial.number, ())
                # Quantities come first: the restored trial has the values of its objectives from
                # them.
                if trial.number in observed:
                    self.plan.sampler.observe(trial.number, observed[trial.number])
                self.plan.sampler.restore(trial, measured)
                self._restore_promotion(trial, measured)

    def _restore_promotion(self, trial: Trial, measured: tuple[Measurement, ...]) -> None:
        # A failed trial has left its rungs, and holds no place of another one.
        if _has_failed(trial):
            return
        for each in measured:
            # Complete trials stay at their rungs, because quotas count all that ever arrived.
            if each.objective is not None:
                self._promotion.arrive(trial.number, each.epoch, each.objective)
        if trial.state is TrialState.PAUSED:
            self._promotion.pause(trial.number)
        elif not trial.state.is_finished:
            self._active.add(trial.number)

    @property
    def num_settled(self) -> int:
        """The number of trials that have ended or are paused."""
        return self.num_finished + self._promotion.num_paused

    @property
    def num_planned(self) -> int:
        extra = len(self.trials) - self._num_searched
        searched = self._num_to_search
        # How many replicates there are is known once the search is over: until then some of the
        # wanted configurations may turn out to have no complete trial.
        return searched + (extra if self._is_searched else max(extra, self._num_replicates))

    @property
    def num_wanted(self) -> int:
        """The number of planned trials if no budget were spent."""
        unspent = max(self.plan.num_trials, self._num_searched)
        return self.num_planned - self._num_to_search + unspent

    @property
    def _num_replicates(self) -> int:
        """The number of replicates of the study if enough trials are complete."""
        wanted = self.replication
        if wanted is None:
            return 0
        has_control = any(kind is TrialKind.CONTROL for kind, _ in self.plan.leading)
        return (wanted.top + has_control) * len(wanted.seeds)

    @property
    def _is_spent(self) -> bool:
        """True if the budget of the search is spent. Leading trials run nevertheless."""
        is_led = self._num_searched >= len(self.plan.leading)
        return is_led and self.spending.reason is not None

    @property
    def ended_early(self) -> str | None:
        """The reason why the search ends before all its trials have had their turn, or None."""
        num_leading, num_trials = len(self.plan.leading), self.plan.num_trials
        return ended_early(self.trials.values(), num_leading, num_trials, self.spending)

    @property
    def _num_to_search(self) -> int:
        """The number of trials of the search, both those that exist and those to come."""
        return max(0 if self._is_spent else self.plan.num_trials, self._num_searched)

    @property
    def _is_searched(self) -> bool:
        # Paused trials have had their turn, unless one of them still goes on.
        is_over = self._num_found + self._promotion.num_paused >= self._num_to_search
        return is_over and self.next_promoted() is None

    def next_promoted(self) -> Trial | None:
        """Return the paused trial that goes on next, if any may."""
        number = self._next_paused(self._active)
        return None if number is None else self.trials[number]

    def _next_paused(self, active: Set[int]) -> int | None:
        """Return the number of the paused trial that goes on next while these trials are active.

        A spent budget ends promotions. Only if no sampled trial is complete and feasible in the
        end, one after the other goes on to its end: else the search would have found nothing.
        """
        is_closing = not self._is_open and not active
        if not self._is_spent:
            found = self._promotion.next(is_closing=is_closing)
            if found is not None:
                return found
        return self._promotion.furthest() if is_closing and not self._num_complete else None

    @property
    def is_done(self) -> bool:
        if self._base is not None and self._base.is_done and self._base.best is None:
            return True  # it can never begin
        return self._is_searched and self.num_settled == len(self.trials) and not self._lacks()

    @property
    def best(self) -> Trial | None:
        """The best complete trial of a search that is over, besides the control."""
        found = origins(self.trials.values(), 1) if self._is_searched else []
        return next((t for t in found if t.kind is not TrialKind.CONTROL), None)

    @property
    def has_next(self) -> bool:
        is_open = bool(self._waiting) or self._is_open or self.next_promoted() is not None
        return is_open or (self._is_searched and bool(self._lacks()))

    @property
    def must_wait(self) -> bool:
        """True if every trial that could start needs a stage that a running trial builds."""
        # A paused trial has its shared stages behind it: rungs count the objective's stage.
        if self.next_promoted() is not None or (self._is_open and not self._new_must_wait):
            return False
        waiting = self._first_waiting()
        if waiting is None:
            return self._is_open or bool(self._waiting)
        return self._schedule.must_wait(waiting)

    def would_wait(self, trial: Trial) -> bool:
        """Return whether a running trial of any study builds a stage that this one needs next."""
        return self._schedule.must_wait(trial)

    @property
    def _is_open(self) -> bool:
        is_ready = self._base is None or self._base.best is not None
        return is_ready and self._num_searched < self._num_to_search

    @property
    def _new_must_wait(self) -> bool:
        begun = self._num_searched - len(self.plan.leading)
        left = self._num_to_search - self._num_searched
        # Few trials are planned before they can start: they are drawn with what is known by then,
        # and start although the budget may be spent.
        ahead = sum(not self.trials[number].attempt for number in self._waiting)
        is_far = 0 < len(self.plan.stages.configs) <= ahead
        return begun >= 0 and (is_far or self._schedule.must_all_wait(begun, left))

    def _first_waiting(self) -> Trial | None:
        waiting = (self.trials[number] for number in self._waiting)
        return self._schedule.first(trial for trial in waiting if not self._is_held(trial))

    def _training(self, trial: Trial) -> Training | None:
        if trial.number not in self._trainings:
            self._trainings[trial.number] = self.plan.training(trial)
        return self._trainings[trial.number]

    def _is_held(self, trial: Trial) -> bool:
        """Return whether an equal trial trains now, whose result this one will have."""
        return self._equal.has_begun(trial, self._training(trial))

    def equal_to(self, trial: Trial) -> Key | None:
        """Return the study and the number of a complete trial that is the same training."""
        return self._equal.complete(trial, self._training(trial))

    def _lacks(self) -> list[Trial]:
        return missing(tuple(self.trials.values()), self.replication)

    def replicate(self, num_seeds: int | None) -> None:
        """Let the replicates have the first seeds of the plan, this many; None: all."""
        wanted = self.plan.replication
        if wanted is not None:
            self.replication = replace(wanted, seeds=wanted.seeds[:num_seeds])
            self.num_seeds = len(self.replication.seeds)

    def next_trial(self, *, rather_new: bool = False) -> Trial | None:
        """Return the next trial to run: a waiting one, a promoted one, a new one, or None.

        A trial that would wait for a stage comes after those that would not.

        Args:
            rather_new: A new trial comes first.
        """
        while True:
            # Replicates are planned once the search is over, and its best configurations final.
            if not self._waiting and self._is_searched:
                for replicate in self._lacks():
                    self._ledger.add_trial(replicate)
                    self._queue(replicate)
            waiting, promoted = self._first_waiting(), self.next_promoted()
            must_wait = waiting is not None and self._schedule.must_wait(waiting)
            if promoted is not None and (waiting is None or must_wait):
                waiting, must_wait = promoted, False  # its early stages are done
            # The waiting trial would hold a slot idle, which a new one can use at once.
            is_new_first = rather_new or (must_wait and not self._new_must_wait)
            if not self._is_open or not (waiting is None or is_new_first):
                return waiting
            trial = self._plan_one(self._num_searched)
            can_pass = self._is_open and not self._new_must_wait
            must_wait = can_pass and self._schedule.must_wait(trial)
            if not (trial.state.is_finished or must_wait or self._is_held(trial)):
                return trial
            # One that would wait stays planned, and a later one starts.

    def _plan_one(self, number: int) -> Trial:
        """Plan trial `number`, and prune an infeasible suggestion at once."""
        outcome: Outcome | None = None
        sampled: tuple[str, ...] = ()
        seed = self.plan.trial_seed(number)
        is_leading = number < len(self.plan.leading)
        if is_leading:
            kind, params = self.plan.leading[number]
        else:
            begun = number - len(self.plan.leading)
            kind, shared = TrialKind.SAMPLED, self._schedule.config_of(begun)
            given = self.plan.first[begun] if begun < len(self.plan.first) else {}
            # A shared stage was drawn with all others of the study, and stays as it is.
            given = {**given, **({} if shared is None else shared.params)}
            params = self.plan.sampler.ask(number, given or None)
            sampled = tuple(params)
            if shared is not None:
                # The result of a stage is shared only by trials of one seed.
                params, seed = {**shared.settings, **params}, shared.seed
        try:
            if not is_leading:
                params = self.plan.complete(params)
            elif self._base is not None:
                assert self._base.best is not None
                params = self.plan.on_base(self._base.best.params)
        except Infeasible as error:
            outcome = Outcome(state=TrialState.PRUNED, failure=INFEASIBLE, reason=str(error))
        trial = Trial(
            study=self.name, number=number, kind=kind, params=params, sampled=sampled, seed=seed
        )
        answer: Answer | None = None
        if (request := self._skips.pop(number, None)) is not None:
            outcome, answer = outcome or ended_by(request), obeyed(request, trial)
        # The ledger records one attempt of an infeasible trial: a start and an end.
        started = trial if outcome is None else apply(trial, AttemptStarted(attempt=1))
        self._ledger.add_trial(trial, outcome, self._tell_sampler(started, outcome), answer)
        self._schedule.add(trial)
        self._begin(trial)
        if outcome is None:
            self._waiting.append(number)
            self.trials[number] = trial
        else:
            self.num_running += 1
            self._ended(started, outcome)
        return self.trials[number]

    def _begin(self, trial: Trial) -> None:
        """Count a trial that the search has planned."""
        self._num_searched += 1
        if trial.kind is TrialKind.SAMPLED:
            self._active.add(trial.number)

    def start(self, number: int) -> Trial:
        """Start an attempt at a waiting trial, or at a paused one, which is thereby promoted."""
        # Committed first: from now on the number fences off reports of earlier attempts.
        attempt = self._ledger.start_attempt(self.name, number)
        is_promoted = self.trials[number].state is TrialState.PAUSED
        trial = apply(self.trials[number], AttemptStarted(attempt=attempt))
        self.trials[number] = trial
        self._schedule.start(trial)
        self._equal.follow(trial, self._training(trial))
        self.num_running += 1
        if is_promoted:
            self._promote(number)
        else:
            self._waiting.remove(number)
        return trial

    def _promote(self, number: int) -> None:
        """Let the search know that a paused trial goes on."""
        self._promotion.start(number)
        self._active.add(number)
        self.plan.sampler.resume(number)

    def obey(self, request: Request) -> Trial | None:
        """Obey a request about a trial to which there is no objection.

        Returns:
            The trial, if it was skipped, reopened or added. None: it ends later.
        """
        number = request.number or 0
        if request.kind is RequestKind.ADD_TRIAL:
            return self._add(request)
        if request.kind is RequestKind.RETRY_TRIAL:
            return self._reopen(request)
        if request.kind is RequestKind.SKIP_TRIAL and number in self.trials:
            return self._skip(request)
        is_stop = request.kind is RequestKind.STOP_TRIAL
        (self._stops if is_stop else self._skips)[number] = request
        if request.is_open:
            self._ledger.answer(accepted(request))
        return None

    def _add(self, request: Request) -> Trial:
        """Add a suggestion of a user, outside the search: the sampler never hears of it."""
        trial = suggested(request, self.trials)
        self._ledger.add_trial(trial, answer=obeyed(request, trial))
        self._queue(trial)
        return trial

    def _queue(self, trial: Trial) -> None:
        self._schedule.add(trial)
        self.trials[trial.number] = trial
        self._waiting.append(trial.number)

    def _reopen(self, request: Request) -> Trial:
        """Let a failed trial wait for another attempt."""
        failed = self.trials[request.number or 0]
        trial = self._ledger.reopen(self.name, failed.number, obeyed(request, failed))
        self.num_finished -= 1
        self._num_found -= trial.kind.is_searched
        # The search sees it again as a resumed one does: as a trial that runs, at its rungs.
        measured = self._ledger.measurements(self.name, trial.number)
        self.epochs[trial.number] = {(m.stage, m.epoch) for m in measured}
        if trial.kind is TrialKind.SAMPLED:
            self.plan.sampler.resume(trial.number)
            self._promotion.forget(trial.number)
            self._restore_promotion(trial, measured)
        self._equal.follow(trial, self._training(trial))
        self._queue(trial)
        return trial

    def _skip(self, request: Request) -> Trial:
        """End a waiting trial that a user does not want."""
        trial, outcome = self.trials[request.number or 0], ended_by(request)
        started = apply(trial, AttemptStarted(attempt=trial.attempt + 1))
        state, answer = self._tell_sampler(started, outcome), obeyed(request, trial)
        self._ledger.take_over(self.name, trial.number, (), outcome, state, answer)
        self._waiting.remove(trial.number)
        self.num_running += 1  # `_ended` counts it down again
        return self._ended(started, outcome)

    def take_over(self, number: int, other: "StudyRunner", equal: Trial) -> Trial:
        """End a waiting trial with the epochs of a complete one that is the same training.

        Args:
            number: The waiting trial.
            other: The runner of the study of the complete one.
            equal: The complete trial.
        """
        mine, theirs = self._training(self.trials[number]), other._training(equal)
        assert mine is not None
        assert theirs is not None
        by = f"{self._ledger.name}/{equal.study}/{equal.number}"
        measured = [
            as_taken_over(each, stage=theirs.stage, now=mine.stage, by=by)
            for each in self._ledger.measurements(equal.study, equal.number)
        ]
        same = f"the same training as {equal.name}, which ran once"
        outcome = Outcome(state=TrialState.COMPLETE, test=equal.test, reason=same)
        ended = self._ledger.take_over(self.name, number, measured, outcome)
        for each in measured:
            self._schedule.measure(ended, each)
            self._count(ended, each)
        self._waiting.remove(number)
        self.num_running += 1
        return self._ended(ended, outcome)

    def has_measured(self, number: int, measurement: Measurement) -> bool:
        """Return whether an earlier attempt has measured this epoch of an unfinished trial."""
        place = measurement.stage, measurement.epoch
        return place in self.epochs.get(number, ()) and not measurement.is_final

    def measure(self, number: int, attempt: int, measurement: Measurement) -> Decision:
        """Record an epoch, and return whether the trial goes on, is pruned or pauses.

        The final epoch and a pruning end the trial. Only an epoch with an objective can prune or
        pause. An epoch that an earlier attempt has measured is computed again, from a checkpoint
        before it. Its decision was made, and only its checkpoint is new.

        Raises:
            StaleAttempt: A later attempt at this trial has begun, or the trial has ended.
        """
        if self.has_measured(number, measurement):
            if measurement.checkpoint is not None:
                self.name_checkpoint(number, attempt, measurement.checkpoint)
            return Decision.CONTINUE
        # Refused before the sampler hears of it: a replaced attempt must leave no trace there.
        current = self._current(number, attempt)
        trial = apply(current, EpochMeasured(measurement=measurement))
        if not self.plan.goals.are_plain:
            known = self._quantities.setdefault(number, Quantities())
            known.measure(measurement)
            known.count(attempt, measurement.seconds)
        decision = self._decide(trial, measurement)
        outcome, answer = _outcome(measurement, decision), None
        # At a rung the pause comes first, so that turns of a deterministic search end alike.
        if outcome is None and (request := self._stops.get(number)) is not None:
            decision, answer = Decision.PRUNE, obeyed(request, trial)
            outcome = ended_by(request)
        if outcome is not None:
            outcome = self._judged(trial, outcome)
        state = self._tell_sampler(trial, outcome)
        self._ledger.measure(self.name, number, attempt, measurement, outcome, state, answer)
        self._schedule.measure(trial, measurement)
        self._count(trial, measurement)
        self.epochs.setdefault(number, set()).add((measurement.stage, measurement.epoch))
        self.trials[number] = trial
        if outcome is not None:
            self._ended(trial, outcome)
        return decision

    def _count(self, trial: Trial, measurement: Measurement) -> None:
        """Count an epoch that is committed."""
        places = self.epochs.get(trial.number, ())
        is_new = (measurement.stage, measurement.epoch) not in places
        self.spending.measure(trial, measurement, is_new=is_new)

    def _decide(self, trial: Trial, measurement: Measurement) -> Decision:
        """Return the decision after an epoch, and record it with the sampler and the schedule."""
        value = measurement.objective
        # Only sampled trials compete for epochs, and all others are trained whole.
        if value is None or trial.kind is not TrialKind.SAMPLED:
            return Decision.CONTINUE
        prune = self.plan.sampler.should_prune(trial.number, measurement)
        is_rung = self._promotion.arrive(trial.number, measurement.epoch, value)
        # Sampler and rungs have the last value now. Nothing is left to be pruned.
        if measurement.is_final:
            return Decision.CONTINUE
        if prune:
            return Decision.PRUNE
        if not is_rung:
            return Decision.CONTINUE
        # If this trial paused it would no longer be active, and the search might close.
        others = self._active - {trial.number}
        goes_on = self._promotion.goes_on(trial.number, lambda: self._next_paused(others))
        return Decision.CONTINUE if goes_on else Decision.PAUSE

    def _judged(self, trial: Trial, outcome: Outcome) -> Outcome:
        """Return the end of an attempt with its quantities, and with the constraints it breaks.

        A replicate is a repeat of a trial that was judged.
        """
        goals = self.plan.goals
        if goals.are_plain or not trial.kind.is_searched:
            return outcome
        values = self._quantities[trial.number].of(goals, self.plan.budget.devices)
        outcome = replace(outcome, quantities=values)
        broken = goals.broken(values)
        # Only a complete trial has all of its costs, to which a bound applies.
        if outcome.state is not TrialState.COMPLETE or broken is None:
            return outcome
        return replace(outcome, failure=CONSTRAINT, reason=broken)

    def name_checkpoint(self, number: int, attempt: int, checkpoint: str) -> None:
        """Record the newest complete checkpoint of an attempt.

        Raises:
            StaleAttempt: A later attempt at this trial has begun, or the trial has ended.
        """
        trial = self._current(number, attempt)
        self._ledger.name_checkpoint(self.name, number, attempt, checkpoint)
        self.trials[number] = apply(trial, CheckpointNamed(checkpoint=checkpoint))

    def end(self, number: int, attempt: int, outcome: Outcome) -> Trial:
        """End an attempt. A finished state also ends the trial, and is reported to the sampler.

        Raises:
            StaleAttempt: A later attempt at this trial has begun, or the trial has ended.
        """
        trial = self._current(number, attempt)
        state = self._tell_sampler(trial, outcome)
        self._ledger.end_attempt(self.name, number, attempt, outcome, state)
        return self._ended(trial, outcome)

    def _current(self, number: int, attempt: int) -> Trial:
        trial = self.trials[number]
        if trial.attempt != attempt or trial.state is not TrialState.RUNNING:
            raise StaleAttempt(f"attempt {attempt} of trial {number}: {trial.attempt} is latest")
        return trial

    def _tell_sampler(self, trial: Trial, outcome: Outcome | None) -> SamplerState | None:
        """Tell the sampler of the end of an attempt, if it has ended, and return what it keeps.

        The commit that follows includes that. Of a trial that the sampler did not draw, it is None.
        """
        if trial.kind is not TrialKind.SAMPLED:
            return None
        sampler = self.plan.sampler
        if outcome is not None and outcome.quantities:
            sampler.observe(trial.number, outcome.quantities)
        if outcome is not None and outcome.state is TrialState.PAUSED:
            sampler.pause(trial.number)
        if outcome is not None and outcome.state.is_finished:
            sampler.tell(apply(trial, AttemptEnded(outcome=outcome)))
        return sampler.state(trial.number)

    def _ended(self, trial: Trial, outcome: Outcome) -> Trial:
        ended = apply(trial, AttemptEnded(outcome=outcome))
        self.trials[trial.number] = ended
        self.num_running -= 1
        self._schedule.end(ended)
        self._equal.follow(ended, self._training(ended))
        if outcome.state.is_finished:
            self.epochs.pop(trial.number, None)
            self._stops.pop(trial.number, None)
            self.num_finished += 1
            self._num_found += trial.kind.is_searched
        elif outcome.state is TrialState.WAITING:
            self._waiting.append(trial.number)
        # An interrupted trial is in no list here: it goes on with the next launch.
        if outcome.state.is_settled:
            self._settle(ended)
        return ended

    def _settle(self, trial: Trial) -> None:
        """Let the search know that a trial has ended or pauses."""
        self._active.discard(trial.number)
        if trial.state is TrialState.PAUSED:
            self._promotion.pause(trial.number)
            return
        self._num_complete += _is_complete(trial)
        self.spending.end(trial)
        if trial.kind is TrialKind.SAMPLED and _has_failed(trial):
            self._promotion.remove(trial.number)


def _is_complete(trial: Trial) -> bool:
    """Return whether a trial is a complete and feasible one of the sampler."""
    is_complete = trial.state is TrialState.COMPLETE and trial.is_feasible
    return trial.kind is TrialKind.SAMPLED and is_complete


def _has_failed(trial: Trial) -> bool:
    """Return whether a trial has ended without any use to the search."""
    is_pruned = trial.state is TrialState.PRUNED
    return trial.state is TrialState.FAILED or (is_pruned and trial.failure in OF_NO_USE)


def _outcome(measurement: Measurement, decision: Decision) -> Outcome | None:
    """Return the end of an attempt after an epoch, or None if it goes on."""
    where = f"{measurement.stage} epoch {measurement.epoch}"
    if measurement.is_final:
        test = {k: v for k, v in measurement.metrics.items() if k.startswith("test/")}
        return Outcome(state=TrialState.COMPLETE, test=test)
    if decision is Decision.PRUNE:
        return Outcome(state=TrialState.PRUNED, reason=f"worse than its peers at {where}")
    if decision is Decision.PAUSE:
        reason = f"not promoted from {where}"
        # A promotion will be a new attempt, which must not use up one of those for failures.
        return Outcome(state=TrialState.PAUSED, reason=reason, counts=False)
    return None
