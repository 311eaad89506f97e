"""Requests of users about single trials: obeyed once, refused with a reason, equal after kills."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.core.promotion import PromotionRule
from sweeper.core.protocols import Hook
from sweeper.core.requests import obey_at_rest
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import StudyPlan
from sweeper.driver.hooks.control import Control
from sweeper.ledger import Answer, RequestKind, RequestState, Target
from sweeper.ledger.ledger import AnsweredBefore
from sweeper.model import SKIPPED, STOPPED, Decision, Trial, TrialKind, TrialState
from sweeper.spec.distributions import Float
from tests.support.fakes import STUDY, curve, new_ledger, plan, run_in_slots, started
from tests.support.searches import search_of
from trainables.report import Measurement

STOP, SKIP, RETRY, ADD = (RequestKind(f"{verb}_trial") for verb in ("stop", "skip", "retry", "add"))
EPOCHS, TRIALS = 4, 7
PLANNED = {"params": {"refine.lr": 0.3}, "sampled": ["refine.lr"], "seed": str(2**60)}


def search(**options) -> StudyPlan:
    """Return the plan of a search with a preset, whose draws depend on all ended trials."""
    space = {"refine.lr": Float(low=1e-3, high=1.0, log=True)}
    sampler = search_of(space, seed=3, startup_trials=2)
    leading = [(TrialKind.PRESET, {"refine.lr": 0.1})]
    return plan(sampler, num_trials=TRIALS, leading=leading, **options)


def values(trial: Trial) -> list[float]:
    return [trial.params["refine.lr"] + 1 / epoch for epoch in range(1, EPOCHS + 1)]


class Sweep:
    """A sweep in a folder, whose driver may die after any step."""

    def __init__(self, folder: Path, make: Callable[[], StudyPlan] = search) -> None:
        self.ledger, self._make = new_ledger(folder), make
        self.told: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Let a driver read the ledger, instead of the one before."""
        self.runner = SweepRunner([self._make()], self.ledger)
        self.control = Control(self.ledger, self.runner, 0, self.told.append)
        self.control.obey()

    def ask(self, kind: RequestKind, number: int | None = None, **planned: object) -> int:
        target = Target(study=STUDY.name, number=number, planned=planned or None)
        return self.ledger.request(kind, target)[0]

    def steps(self) -> Iterator[tuple[Trial, Decision | None]]:
        for trial, _, decision in run_in_slots(self.runner, values, slots=1):
            yield trial, decision
            self.control.obey()

    def run(self) -> None:
        for _ in self.steps():
            pass

    def state(self, request: int) -> tuple[RequestState, str]:
        (found,) = self.ledger.requests_about_trials(ids=[request])
        return found.state, str(found.answer)

    def trials(self) -> list[tuple[object, ...]]:
        """Return what a kill does not change."""
        return [
            (t.number, t.kind, t.params, t.seed, t.state, t.value, t.failure)
            for t in self.ledger.trials()
        ]


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    found = Sweep(tmp_path)
    with closing(found.ledger):
        yield found


def fail(sweep: Sweep, first: int) -> int:
    """Run the sweep until a trial from `first` on has two epochs, and let it fail."""
    for trial, decision in sweep.steps():
        measured = sweep.runner.studies[STUDY.name].epochs.get(trial.number, ())
        if trial.number >= first and len(measured) == 2 and decision is Decision.CONTINUE:
            sweep.runner.on_failure(trial, "trainables.errors.DataError: a file is gone")
            return trial.number
    raise AssertionError("none ran")


def test_a_stopped_trial_ends_after_its_next_epoch_and_keeps_its_value(sweep: Sweep) -> None:
    request = None
    for trial, decision in sweep.steps():
        if trial.number == 2 and request is None:
            request = sweep.ask(STOP, 2)
        elif trial.number == 2:
            assert decision is Decision.PRUNE
    assert request is not None
    stopped = sweep.ledger.trial(STUDY.name, 2)
    assert (stopped.state, stopped.failure) == (TrialState.PRUNED, STOPPED)
    assert stopped.value == values(stopped)[0]
    assert str(stopped.reason).startswith("stopped by ")
    assert sweep.state(request) == (RequestState.OBEYED, "was stopped")
    assert [t.state for t in sweep.runner.trials].count(TrialState.COMPLETE) == TRIALS - 1


@pytest.mark.parametrize("number", [0, 5], ids=["the preset", "a trial to come"])
def test_a_skipped_trial_never_begins(sweep: Sweep, number: int) -> None:
    request = sweep.ask(SKIP, number)
    assert sweep.state(request)[0] is RequestState.OPEN
    sweep.control.obey()
    assert sweep.state(request) == (RequestState.ACCEPTED, "will not begin")
    sweep.run()
    skipped = sweep.ledger.trial(STUDY.name, number)
    assert (skipped.state, skipped.failure, skipped.value) == (TrialState.PRUNED, SKIPPED, None)
    assert sweep.state(request) == (RequestState.OBEYED, "was skipped")
    assert sweep.runner.studies[STUDY.name].is_done


class Changes(Hook):
    """A hook that keeps the trials which a display is shown."""

    def __init__(self) -> None:
        self.seen: list[Trial] = []

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        self.seen.append(trial)


def test_a_trial_that_waits_for_its_next_attempt_is_skipped_at_once(sweep: Sweep) -> None:
    trial = started(sweep.runner)
    sweep.runner.on_failure(trial, "RuntimeError: boom")
    sweep.ask(SKIP, trial.number)
    sweep.runner.watch(shown := Changes())
    sweep.control.obey()
    ended = sweep.ledger.trial(STUDY.name, trial.number)
    assert (ended.state, ended.failure) == (TrialState.PRUNED, SKIPPED)
    assert shown.seen == [ended]
    assert sweep.runner.trials == sweep.ledger.trials()
    sweep.run()
    assert sweep.ledger.trial(STUDY.name, trial.number) == ended


def test_a_failed_trial_begins_again_where_it_was(sweep: Sweep) -> None:
    fail(sweep, 3)
    request = sweep.ask(RETRY, 3)
    sweep.run()
    again = sweep.ledger.trial(STUDY.name, 3)
    assert (again.state, again.attempt, again.forgiven) == (TrialState.COMPLETE, 2, 1)
    assert sweep.state(request) == (RequestState.OBEYED, "is tried again")
    assert sweep.runner.studies[STUDY.name].num_finished == TRIALS
    assert all(trial.state is TrialState.COMPLETE for trial in sweep.ledger.trials())


@pytest.mark.parametrize("kind", ["plain", "promoting"])
def test_a_runner_that_retries_goes_on_as_one_that_reads_the_ledger(tmp_path, kind: str) -> None:
    rule = PromotionRule(rungs=(1,), eta=2) if kind == "promoting" else PromotionRule()
    ends = []
    for name in ("lives on", "dies"):
        sweep = Sweep(tmp_path / name, lambda: search(promotion=rule))
        with closing(sweep.ledger):
            sweep.ask(RETRY, fail(sweep, 2))
            sweep.control.obey()
            if name == "dies":
                sweep.begin()
            sweep.run()
            ends.append(sweep.trials())
    assert ends[0] == ends[1]


def test_a_suggestion_is_trained_beside_the_search_which_never_hears_of_it(tmp_path) -> None:
    alone, beside = Sweep(tmp_path / "alone"), Sweep(tmp_path / "beside")
    with closing(alone.ledger), closing(beside.ledger):
        alone.run()
        request = beside.ask(ADD, **PLANNED)
        beside.run()
        *searched, suggestion = beside.ledger.trials()
        assert (suggestion.kind, suggestion.state) == (TrialKind.SUGGESTED, TrialState.COMPLETE)
        assert (suggestion.number, suggestion.seed) == (100_000, 2**60)
        assert beside.trials()[:-1] == alone.trials()
        assert len(searched) == TRIALS
        assert beside.state(request) == (RequestState.OBEYED, "waits for its turn")
        (found,) = beside.ledger.requests_about_trials(ids=[request])
        assert found.number == suggestion.number
        again = beside.ask(ADD, **PLANNED)
        beside.control.obey()
        assert beside.state(again)[0] is RequestState.REFUSED


@pytest.mark.parametrize(
    ("kind", "number", "reason"),
    [
        (STOP, 0, "it has ended: complete"),
        (SKIP, 0, "it has ended: complete"),
        (RETRY, 0, "it has ended: complete"),
        (SKIP, 1, "it has begun, it is running: stop it instead"),
        (RETRY, 1, "it is running, and has not failed"),
        (STOP, 3, f"there is no trial 3 yet; its search has {TRIALS}"),
        (SKIP, TRIALS, f"there is no trial {TRIALS} yet; its search has {TRIALS}"),
    ],
)
def test_a_request_is_refused_with_its_reason(sweep: Sweep, kind, number, reason) -> None:
    for trial, _ in sweep.steps():
        if trial.number == 1:
            break
    before = sweep.ledger.trials()
    request = sweep.ask(kind, number)
    sweep.control.obey()
    assert sweep.state(request) == (RequestState.REFUSED, reason)
    assert sweep.told == [f"{sweep.told[0].partition(': refused')[0]}: refused, {reason}."]
    assert sweep.ledger.trials() == before


def test_a_stop_of_a_trial_that_ends_by_itself_is_refused_in_the_end(sweep: Sweep) -> None:
    trial = started(sweep.runner)
    for measurement in list(curve(values(trial)))[:-1]:
        sweep.runner.on_report(trial, measurement)
    request = sweep.ask(STOP, trial.number)
    sweep.control.obey()
    sweep.runner.on_failure(trial, "trainables.errors.DataError: gone")
    sweep.control.obey()
    assert sweep.state(request) == (RequestState.REFUSED, "it has ended: failed")


def test_a_deterministic_search_retries_between_its_launches_alone(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, lambda: search(turns=2))
    with closing(sweep.ledger):
        fail(sweep, 2)
        request = sweep.ask(RETRY, 2)
        sweep.control.obey()
        assert sweep.state(request)[0] is RequestState.REFUSED
        again = sweep.ask(RETRY, 2)
        obey_at_rest(sweep.ledger, {STUDY.name: TRIALS})
        assert sweep.state(again)[0] is RequestState.OBEYED
        sweep.begin()
        sweep.run()
        assert {t.state for t in sweep.ledger.trials()} == {TrialState.COMPLETE}


def test_an_answer_is_one_transaction_with_what_follows_from_it(sweep: Sweep) -> None:
    fail(sweep, 1)
    request = sweep.ask(RETRY, 1)
    answer = Answer(request=request, state=RequestState.OBEYED, text="is tried again")
    sweep.ledger.reopen(STUDY.name, 1, answer)
    state, seq = sweep.ledger.trials(), sweep.ledger.events()[-1].seq
    with pytest.raises(AnsweredBefore):
        sweep.ledger.reopen(STUDY.name, 1, answer)
    assert (sweep.ledger.trials(), sweep.ledger.events()[-1].seq) == (state, seq)


@pytest.mark.slow
@pytest.mark.parametrize("turns", [None, 2], ids=["plain", "deterministic"])
def test_a_kill_after_any_step_changes_no_end(tmp_path: Path, turns: int | None) -> None:
    whole = steered(tmp_path / "whole", turns, cut=None)
    kinds = {each[6] for each in whole[0]}
    assert kinds == {None, STOPPED, SKIPPED}
    for cut in range(1, whole[1]):
        assert steered(tmp_path / str(cut), turns, cut=cut)[0] == whole[0], cut


def steered(folder: Path, turns: int | None, *, cut: int | None) -> tuple[list, int]:
    """Run a sweep with a request of each kind; its driver dies after the step `cut`."""
    sweep = Sweep(folder, lambda: search(turns=turns))
    asked, count, dead = set[RequestKind](), 0, False
    with closing(sweep.ledger):
        while not dead:
            dead = True
            for trial, _ in sweep.steps():
                count += 1
                due = {(1, STOP, 1), (1, SKIP, 4), (2, ADD, None)}
                for number, kind, about in sorted(due, key=str):
                    if trial.number == number and kind not in asked:
                        asked.add(kind)
                        sweep.ask(kind, about, **(PLANNED if kind is ADD else {}))
                if count == cut:
                    sweep.begin()
                    dead = False
                    break
        requests = sweep.ledger.requests_about_trials(states=list(RequestState))
        assert [each.state for each in requests] == [RequestState.OBEYED] * 3
        return sweep.trials(), count


def test_each_other_suggestion_is_a_trial_and_so_is_what_a_sampler_drew(sweep: Sweep) -> None:
    drawn = None
    for trial, _ in sweep.steps():
        if trial.kind is TrialKind.SAMPLED and drawn is None:
            drawn = trial.params
            for params in (PLANNED["params"], {"refine.lr": 0.4}, drawn):
                sweep.ask(ADD, **{**PLANNED, "params": params})
    added = [t.params for t in sweep.ledger.trials() if t.kind is TrialKind.SUGGESTED]
    assert added == [{"refine.lr": 0.3}, {"refine.lr": 0.4}, drawn]
