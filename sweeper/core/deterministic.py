"""The runner of a study whose search does not depend on timing: `search.deterministic`.

Suggestions and promotions are those of a virtual cluster on which each epoch takes one unit of
time. A *turn* is what a trial trains at a stretch: up to its next rung, or to its end. The virtual
slots take turns, and a decision sees exactly the turns that have ended by then on the virtual
clock. All of this follows from the file and from values, so that real slots, speeds and kills
change when a turn runs, and not what it is. A decision waits until the turns before it have really
ended; a turn that has ended too early is heard of in its order.

Why a clock? A lag of so many trials waits for the longest turn, which may have ten times the epochs
of others, and rounds wait so after each rung. On a clock the other virtual slots have work.

A paused trial never goes on at once, and a failed attempt is no end of a turn while the trial is
tried again. Nothing of the order is stored: a resumed study takes its recorded turns again, and
needs no suggestion for them. The sampler hears of turns right before a suggestion, so that one
commit has the suggestion and all that the sampler has learned for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

from sweeper.core.quantities import Quantities
from sweeper.core.study_runner import StudyPlan, StudyRunner
from sweeper.ledger import Ledger
from sweeper.model import Decision, Outcome, SamplerState, Trial, TrialKind, TrialState
from trainables.report import Measurement


class VirtualSlots:
    """The turns that have begun on the virtual clock, in the order of their ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._clock = 0  # epochs
        self._num_begun = 0
        self._ends: list[tuple[int, int, int]] = []  # a heap: end, order of begin, trial

    @property
    def is_full(self) -> bool:
        return len(self._ends) >= self._count

    @property
    def first(self) -> int | None:
        """The trial whose turn ends first, or None if no turn has begun."""
        return self._ends[0][2] if self._ends else None

    def begin(self, number: int, epochs: int) -> None:
        """Begin the turn of a trial."""
        heappush(self._ends, (self._clock + epochs, self._num_begun, number))
        self._num_begun += 1

    def end_first(self) -> int:
        """End the turn that ends first, and return its trial."""
        self._clock, _, number = heappop(self._ends)
        return number


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A turn that has ended, or a promotion: what the sampler is to hear of a trial."""

    trial: Trial  # its state: PAUSED, a final one, or RUNNING after a promotion
    measured: tuple[Measurement, ...] = ()
    quantities: Mapping[str, float] = field(default_factory=dict)


class DeterministicRunner(StudyRunner):
    """The trials of one study, whose search hears of them in the order of the virtual slots."""

    def __init__(self, plan: StudyPlan, ledger: Ledger, **others: Any) -> None:
        assert plan.turns is not None
        self._slots = VirtualSlots(plan.turns)
        self._reports: dict[int, list[Measurement]] = {}  # by trial, of turns that are not over
        self._known: dict[int, Quantities] = {}  # by trial, of turns that are over
        self._last: dict[int, Measurement] = {}  # by trial, of turns that are over
        self._unheard: list[Turn] = []  # what the sampler has yet to hear
        self._heard: dict[int, Turn] = {}  # while a study is restored: all of a trial together
        self._told: set[int] | None = None  # trials of which it hears before a suggestion
        self._is_restoring = True
        super().__init__(plan, ledger, **others)

    def _restore_search(self, measurements: Mapping[int, tuple[Measurement, ...]]) -> None:
        self._reports = {number: list(measured) for number, measured in measurements.items()}
        self._take_turns()
        for trial in self.trials.values():
            if trial.kind is TrialKind.SAMPLED:
                heard = self._heard.get(trial.number, _running(trial))
                if heard.quantities:
                    self.plan.sampler.observe(trial.number, heard.quantities)
                self.plan.sampler.restore(heard.trial, heard.measured)
        self._is_restoring = False

    @property
    def _is_searched(self) -> bool:
        is_over = self._slots.first is None and self._num_searched >= self._num_to_search
        return is_over and self.next_promoted() is None

    @property
    def _is_open(self) -> bool:
        # A recorded trial needs no base any more, which may be searched further.
        is_recorded = self._num_searched in self.trials and self._num_searched < self._num_to_search
        return not self._slots.is_full and (is_recorded or super()._is_open)

    def next_promoted(self) -> Trial | None:
        """Return the paused trial that goes on next, if any may and a virtual slot is free."""
        return None if self._slots.is_full else super().next_promoted()

    def next_trial(self, *, rather_new: bool = False) -> Trial | None:
        """Return the next trial to run. A new one never comes before its turn."""
        return super().next_trial()

    def _take_turns(self) -> None:
        """End turns in their order, and begin those that the ledger has, as far as possible."""
        while True:
            first, promoted = self._slots.first, self.next_promoted()
            # A free virtual slot is filled before the clock goes on, so that no decision sees a
            # turn that ends after it.
            if first is not None and not (self._is_open or promoted is not None):
                if not self._has_ended(first):
                    return
                self._end_turn(self._slots.end_first())
            elif promoted is not None:
                number = promoted.number
                if promoted.state is TrialState.PAUSED and not self._reports.get(number):
                    return  # it has yet to start
                self._promote(number)
            elif self._is_open and self._num_searched in self.trials:
                if self._is_restoring:
                    self._hear_again()
                self._begin(self.trials[self._num_searched])
            else:
                return

    def _has_ended(self, number: int) -> bool:
        """Return whether the present turn of a trial has really ended."""
        trial = self.trials[number]
        return trial.state.is_finished or any(
            self._is_rung(trial, m) for m in self._reports.get(number, ())
        )

    def _is_rung(self, trial: Trial, measurement: Measurement) -> bool:
        """Return whether a turn ends here: with the first value at or beyond the next rung."""
        if trial.kind is not TrialKind.SAMPLED or measurement.objective is None:
            return False
        place, before = self.plan.promotion.place, self._last.get(trial.number)
        is_new = place(measurement.epoch) > (-1 if before is None else place(before.epoch))
        return is_new and not measurement.is_final

    def _end_turn(self, number: int) -> None:
        """Let promotion and budget know of a turn, and the sampler before its next suggestion."""
        trial, reports = self.trials[number], self._reports.pop(number, [])
        ends = [i for i, m in enumerate(reports, start=1) if self._is_rung(trial, m)]
        if ends:  # a restored trial may have had several turns
            trial = replace(trial, state=TrialState.PAUSED)
            reports, self._reports[number] = reports[: ends[0]], reports[ends[0] :]
        known = self._known.setdefault(number, Quantities())
        for each in reports:
            is_new = (each.stage, each.epoch) not in known.epochs
            known.measure(each)
            self.spending.measure(trial, each, is_new=is_new)
            if trial.kind is TrialKind.SAMPLED and each.objective is not None:
                self._promotion.arrive(number, each.epoch, each.objective)
        if reports:
            self._last[number] = reports[-1]
        super()._settle(trial)
        if trial.kind is TrialKind.SAMPLED:
            goals, quantities = self.plan.goals, dict[str, float]()
            if trial.state in (TrialState.PAUSED, TrialState.COMPLETE) and not goals.are_plain:
                quantities = known.of(goals, self.plan.budget.devices)
            turn = Turn(trial=trial, measured=tuple(reports), quantities=quantities)
            self._unheard.append(turn)

    def _hear_again(self) -> None:
        """Join what the sampler heard before a recorded suggestion, from which it is restored."""
        for turn in self._unheard:
            before = self._heard.get(turn.trial.number, _running(turn.trial))
            measured = before.measured + turn.measured
            self._heard[turn.trial.number] = replace(turn, measured=measured)
        self._unheard.clear()

    def _plan_one(self, number: int) -> Trial:
        sampler, self._told = self.plan.sampler, {turn.trial.number for turn in self._unheard}
        for turn in self._unheard:
            trial = turn.trial
            # A promotion is no end of a trial, which the sampler counts as running again.
            if trial.state is TrialState.RUNNING:
                sampler.resume(trial.number)
                continue
            # The sampler learns values by this question alone. Rungs decide, so that its answer is
            # not used.
            for each in turn.measured:
                if each.objective is not None:
                    sampler.should_prune(trial.number, each)
            if turn.quantities:
                sampler.observe(trial.number, turn.quantities)
            if trial.state is TrialState.PAUSED:
                sampler.pause(trial.number)
            else:
                sampler.tell(trial)
        self._unheard.clear()
        super()._plan_one(number)
        self._told = None
        self._take_turns()
        return self.trials[number]

    def _tell_sampler(self, trial: Trial, outcome: Outcome | None) -> SamplerState | None:
        # The sampler hears of a turn in its order, and what it keeps is committed with a new trial.
        if self._told is None or trial.kind is not TrialKind.SAMPLED:
            return None
        own = self.plan.sampler.state(trial.number)  # the first has the state of the study
        return replace(own, others={n: self.plan.sampler.state(n).trial for n in self._told})

    def _begin(self, trial: Trial) -> None:
        super()._begin(trial)
        # Settings that contradict each other may lack epochs.
        total = sum(int(v) for name, v in trial.params.items() if name.endswith(".epochs"))
        self._slots.begin(trial.number, self._next_stop(trial, 0, total))

    def _promote(self, number: int) -> None:
        self._promotion.start(number)
        self._active.add(number)
        trial, last = self.trials[number], self._last[number]
        self._slots.begin(number, self._next_stop(trial, last.epoch, last.num_epochs) - last.epoch)
        self._unheard.append(_running(trial))

    def _next_stop(self, trial: Trial, epoch: int, last: int) -> int:
        """Return the epoch at which a trial pauses next, or its last one."""
        rungs = self.plan.promotion.rungs if trial.kind is TrialKind.SAMPLED else ()
        return min([last, *(rung for rung in rungs if rung > epoch)])

    def _decide(self, trial: Trial, measurement: Measurement) -> Decision:
        at_rung = self._is_rung(trial, measurement)
        return Decision.PAUSE if at_rung else Decision.CONTINUE

    def _count(self, trial: Trial, measurement: Measurement) -> None:
        self._reports.setdefault(trial.number, []).append(measurement)

    def _settle(self, trial: Trial) -> None:
        self._take_turns()


def _running(trial: Trial) -> Turn:
    return Turn(trial=replace(trial, state=TrialState.RUNNING))
