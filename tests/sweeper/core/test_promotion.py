"""Pause and promotion: laws of the pure functions, and of the runner on curves of all kinds."""

import random
from bisect import insort
from dataclasses import replace
from functools import partial
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.core.budget import StudyBudget
from sweeper.core.expected_epochs import epochs_under_promotion, promoted_epochs
from sweeper.core.policies import FailureBudget, FailurePolicy
from sweeper.core.promotion import PromotionRule, PromotionSchedule, Rung, next_promotion
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.model import Decision, Trial, TrialKind, TrialState
from tests.support.fakes import FixedSampler, curve, new_ledger, plan, run_in_slots

EPOCHS = 9
RULE = PromotionRule(rungs=(1, 3), eta=3)


def curve_of(trial: Trial) -> list[float]:
    """A curve without a pattern, so that curves cross."""
    rng = random.Random(trial.number)
    return [rng.random() for _ in range(EPOCHS)]


def runner_in(folder, *, trials: int = 12, rule: PromotionRule = RULE, leading=(), **options):
    sampler = FixedSampler([{"refine.lr": float(number)} for number in range(trials)])
    planned = plan(sampler, num_trials=trials, leading=leading, promotion=rule,
                   complete=lambda params: {**params, "refine.epochs": EPOCHS})  # fmt: skip
    for name in options.keys() & {"replication", "budget"}:
        planned = replace(planned, **{name: options.pop(name)})
    if "failures" in options:
        options["budget"] = options.pop("failures")
    return SweepRunner([planned], new_ledger(folder), **options)


def finish(runner, slots: int = 2) -> list:
    events = list(run_in_slots(runner, curve_of, slots))
    assert runner.is_done
    return events


# The pure functions


@given(
    values=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), max_size=12),
    eta=st.integers(2, 4),
    is_closing=st.booleans(),
)
def test_the_next_promotion_is_the_first_of_all_that_the_definition_allows(values, eta, is_closing):
    """A trial has values at the first rungs, and is paused at the last if its number is even."""
    rungs = [Rung() for _ in range(8)]
    for number, reached in enumerate(values):
        for place, value in enumerate(reached):
            insort(rungs[place].arrived, (float(value), number))
        if number % 2 == 0:
            insort(rungs[len(reached) - 1].paused, (float(reached[-1]), number))
    allowed = []
    for place in range(8):
        arrived = sorted((v[place], n) for n, v in enumerate(values) if len(v) > place)
        for rank, (value, number) in enumerate(arrived, start=1):
            is_paused = number % 2 == 0 and len(values[number]) == place + 1
            is_best = rank * eta <= len(arrived) or (is_closing and rank == 1)
            if is_paused and is_best:
                allowed.append((-place, value, number))
    expected = min(allowed)[2] if allowed else None
    quotas = [max(int(is_closing), len(rung.arrived) // eta) for rung in rungs]
    assert next_promotion(rungs, quotas) == expected


def test_a_value_that_is_measured_again_is_no_new_arrival():
    schedule = PromotionSchedule(RULE)
    assert schedule.arrive(0, 1, 0.5)
    assert not schedule.arrive(0, 1, 0.1)
    assert not schedule.arrive(0, 2, 0.1)  # no rung
    assert [schedule.arrive(number, 1, 0.7) for number in (1, 2)] == [True, True]
    next_one = partial(schedule.next, is_closing=False)
    assert schedule.goes_on(0, next_one)
    assert not schedule.goes_on(1, next_one)
    assert schedule.num_paused == 0


def test_a_trial_arrives_at_a_rung_with_its_first_value_at_or_beyond_it(tmp_path):
    schedule = PromotionSchedule(PromotionRule(rungs=(3, 9, 27), eta=3))
    found = [epoch for epoch in range(2, 40, 4) if schedule.arrive(0, epoch, 0.5)]
    assert found == [6, 10, 30]
    assert schedule.arrive(1, 12, 0.5)  # at both rungs at once
    assert not schedule.arrive(1, 14, 0.5)


# The runner


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 4), trials=st.integers(1, 16))
def test_a_slot_goes_only_to_the_best_of_a_rung_and_each_epoch_is_measured_once(
    tmp_path_factory, seed, slots, trials
):
    runner = runner_in(tmp_path_factory.mktemp("s"), trials=trials)

    def measure(trial: Trial) -> list[float]:
        rng = random.Random(seed * 1000 + trial.number)
        return [rng.random() for _ in range(EPOCHS)]

    arrived: dict[int, dict[int, float]] = {rung: {} for rung in RULE.rungs}
    seen: list[tuple[int, int]] = []
    running: set[int] = set()

    def may_go_on(number: int, rung: int) -> bool:
        values = sorted((value, n) for n, value in arrived[rung].items())
        rank = values.index((arrived[rung][number], number)) + 1
        is_closing = len(runner.trials) == trials and not running
        return rank * RULE.eta <= len(values) or (is_closing and rank == 1)

    for trial, measurement, decision in run_in_slots(runner, measure, slots):
        number = trial.number
        if measurement is None:
            if trial.attempt > 1:  # promoted
                assert may_go_on(number, max(r for r in RULE.rungs if number in arrived[r]))
            running.add(number)
            continue
        seen.append((number, measurement.epoch))
        if measurement.epoch in arrived:
            arrived[measurement.epoch][number] = measurement.objective
            running.discard(number)
            assert (decision is Decision.CONTINUE) <= may_go_on(number, measurement.epoch)
            running.add(number)
        if decision is Decision.PAUSE or measurement.is_final:
            running.discard(number)

    assert len(seen) == len(set(seen))
    states = [trial.state for trial in runner.trials]
    assert len(states) == trials
    assert set(states) <= {TrialState.COMPLETE, TrialState.PAUSED}
    assert TrialState.COMPLETE in states
    # At the end, the best of each rung have gone on.
    for rung, values in arrived.items():
        best = sorted(values, key=lambda n: (values[n], n))[: max(1, len(values) // RULE.eta)]
        later = {n for n, epoch in seen if epoch > rung}
        assert later >= set(best)
    assert runner.is_done
    assert runner.num_settled == runner.num_planned == trials


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 3])
def test_a_sweep_that_is_interrupted_at_every_event_ends_as_an_uninterrupted_one(tmp_path, slots):
    check_interrupted(tmp_path, RULE, slots)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 3])
def test_a_search_with_a_spent_budget_ends_alike_if_it_is_interrupted(tmp_path, slots):
    check_interrupted(tmp_path, RULE, slots, budget=StudyBudget(epochs=9))
    states = [trial.state for trial in new_ledger(tmp_path / "cut").trials()]
    assert states.count(TrialState.COMPLETE) == 1


def check_interrupted(folder, rule: PromotionRule, slots: int, **plans) -> None:
    """Check that a sweep that ends after each report, and goes on, decides as a whole one."""
    whole = runner_in(folder / "whole", rule=rule, **plans)
    events = finish(whole, slots)
    reports = [(t.number, m.epoch, d) for t, m, d in events if m is not None]

    found, cut = [], 0
    while True:
        runner = runner_in_again(folder / "cut", rule, **plans)
        steps = run_in_slots(runner, curve_of, slots)
        count = 0
        for trial, measurement, decision in steps:
            if measurement is not None:
                found.append((trial.number, measurement.epoch, decision))
                count += 1
            if count == 1:
                break
        if count == 0:
            break
        cut += 1
        if cut % 2:  # a signal; otherwise the driver dies
            runner.interrupt()
    assert found == reports
    ended = new_ledger(folder / "cut").trials()
    facts = [(t.number, t.state, t.value, t.best_epoch, t.reason) for t in ended]
    assert facts == [(t.number, t.state, t.value, t.best_epoch, t.reason) for t in whole.trials]
    assert runner.is_done


def runner_in_again(folder, rule: PromotionRule, trials: int = 12, **plans):
    """Return a runner of a begun sweep; its sampler does not repeat suggestions."""
    begun = len(new_ledger(folder).trials())
    sampler = FixedSampler([{"refine.lr": float(number)} for number in range(begun, trials)])
    planned = plan(sampler, num_trials=trials, promotion=rule,
                   complete=lambda params: {**params, "refine.epochs": EPOCHS})  # fmt: skip
    return SweepRunner([replace(planned, **plans)], new_ledger(folder))


def test_leading_trials_and_replicates_never_pause_and_replicates_come_after_promotions(tmp_path):
    leading = [(TrialKind.PRESET, {"refine.lr": 1.0, "refine.epochs": EPOCHS}),
               (TrialKind.CONTROL, {"refine.lr": 2.0, "refine.epochs": EPOCHS})]  # fmt: skip
    runner = runner_in(tmp_path, leading=leading, replication=Replication(top=1, seeds=(7,)))
    events = finish(runner)
    paused = {trial.kind for trial, _, decision in events if decision is Decision.PAUSE}
    assert paused == {TrialKind.SAMPLED}
    kinds = [trial.kind for trial, measurement, _ in events if measurement is None]
    first = kinds.index(TrialKind.REPLICATE)
    assert first > 0
    assert set(kinds[first:]) == {TrialKind.REPLICATE}
    for trial in runner.trials:
        if trial.kind is not TrialKind.SAMPLED:
            assert (trial.state, trial.attempt) == (TrialState.COMPLETE, 1)


def test_promotions_are_attempts_that_count_neither_as_tries_nor_as_failures(tmp_path):
    runner = runner_in(tmp_path, trials=9, policy=FailurePolicy(max_attempts=1))
    finish(runner)
    attempts = {trial.attempt for trial in runner.trials}
    assert max(attempts) >= 2
    for trial in new_ledger(tmp_path).trials():
        is_paused = trial.state is TrialState.PAUSED
        assert trial.attempt - trial.uncounted == (0 if is_paused else 1)
        assert trial.failure is None
    sampler = runner.studies["nft/t"].plan.sampler
    assert sorted(sampler.paused) == [
        t.number for t in runner.trials if t.state is TrialState.PAUSED
    ]


def test_a_failed_attempt_at_a_promoted_trial_is_tried_again_from_where_it_was(tmp_path):
    runner = runner_in(tmp_path, trials=3)
    steps = run_in_slots(runner, curve_of, 1)
    promoted = next(trial for trial, m, _ in steps if m is not None and m.epoch == 2)
    runner.on_failure(promoted, "ActorDiedError: the worker died", died=True)
    again = runner.next_trial()
    assert (again.number, again.attempt) == (promoted.number, promoted.attempt + 1)
    assert again.state is TrialState.RUNNING


def test_the_last_epoch_never_pauses_even_where_it_is_a_rung(tmp_path):
    runner = runner_in(tmp_path, rule=PromotionRule(rungs=(3, EPOCHS), eta=3))
    events = finish(runner)
    paused = {m.epoch for _, m, decision in events if decision is Decision.PAUSE}
    assert paused == {3}


def test_a_late_report_of_a_paused_trial_is_refused(tmp_path):
    runner = runner_in(tmp_path)
    trial, measurement, _ = next(e for e in run_in_slots(runner, curve_of, 1) if e[2] is not None)
    late = replace(measurement, epoch=2)
    assert runner.on_report(trial, late) is Decision.PRUNE
    ledger = new_ledger(tmp_path)
    assert [m.epoch for m in ledger.measurements(trial.study, trial.number)] == [1]


def test_more_trials_may_promote_one_that_was_paused_when_the_sweep_ended(tmp_path):
    finish(runner_in(tmp_path, trials=4))
    before = {t.number for t in new_ledger(tmp_path).trials() if t.state is TrialState.PAUSED}
    sampler = FixedSampler([{"refine.lr": 0.5}] * 20)
    planned = plan(sampler, num_trials=24, promotion=RULE,
                   complete=lambda params: {**params, "refine.epochs": EPOCHS})  # fmt: skip
    extended = SweepRunner([planned], new_ledger(tmp_path))
    assert not extended.is_done
    worse = lambda trial: curve_of(trial) if trial.number < 4 else [2.0 + trial.number] * EPOCHS  # noqa: E731
    list(run_in_slots(extended, worse, 2))
    after = {t.number for t in extended.trials if t.state is TrialState.PAUSED}
    assert before - after  # with more trials behind them, more of the old ones are the best third
    assert extended.is_done


def test_a_drained_sweep_promotes_nothing_and_goes_on_later(tmp_path):
    runner = runner_in(tmp_path)
    steps = run_in_slots(runner, curve_of, 1)
    while sum(t.state is TrialState.PAUSED for t in runner.trials) < 2:
        next(steps)
    next(steps)  # the third trial starts, and shows which is the best third
    runner.drain()
    assert all(m is not None for _, m, _ in steps)
    assert runner.is_done
    assert not runner.are_searched


def test_trials_wait_for_nothing_while_one_can_be_promoted(tmp_path):
    runner = runner_in(tmp_path, trials=3)
    for trial, measurement, decision in run_in_slots(runner, curve_of, 1):
        study = runner.studies[trial.study]
        if len(runner.trials) == 3 and measurement is not None and decision is Decision.PAUSE:
            assert study.has_next != study.is_done
            assert study.has_next == (study.next_promoted() is not None)
    assert runner.is_done


def test_a_spent_budget_ends_promotions_and_running_trials_pause_at_their_next_rungs(tmp_path):
    runner = runner_in(tmp_path, trials=30, budget=StudyBudget(epochs=10))
    spent, after = 0, set()
    running: set[int] = set()
    for trial, measurement, decision in run_in_slots(runner, curve_of, 2):
        if measurement is None:
            running.add(trial.number)
            if spent >= 10:  # nothing but the one trial that goes on to its end
                after.add(trial.number)
                assert (trial.attempt > 1, running) == (True, {trial.number})
            continue
        spent += 1
        if spent > 10 and measurement.epoch in RULE.rungs and len(running) > 1:
            assert decision is Decision.PAUSE
        if decision is Decision.PAUSE or measurement.is_final:
            running.discard(trial.number)
    assert len(after) <= 1
    assert runner.is_done
    assert "is spent" in runner.studies["nft/t"].ended_early
    again = runner_in_again(tmp_path, RULE, trials=len(runner.trials), budget=StudyBudget(epochs=9))
    assert again.is_done


def states_of(runner) -> dict[TrialState, int]:
    states = [trial.state for trial in runner.trials]
    return {state: states.count(state) for state in set(states)}


@pytest.mark.parametrize(("trials", "slots", "epochs"), [(60, 2, 60), (60, 2, 30), (20, 8, 25)])
def test_a_spent_budget_leaves_one_complete_trial_by_as_few_epochs_as_possible(
    tmp_path, trials, slots, epochs
):
    rule = PromotionRule(rungs=(1, 2, 4), eta=3)
    runner = runner_in(tmp_path, trials=trials, rule=rule, budget=StudyBudget(epochs=epochs))
    rising = lambda trial: [trial.number + 1.0] * EPOCHS  # noqa: E731
    spent = sum(m is not None for _, m, _ in run_in_slots(runner, rising, slots))
    states = states_of(runner)
    assert states.pop(TrialState.COMPLETE) == 1
    assert set(states) == {TrialState.PAUSED}
    # Running trials come to their next rungs, and then one goes on to its end.
    assert spent <= epochs + (slots - 1) * 2 + EPOCHS
    assert runner.is_done
    again = runner_in_again(tmp_path, rule, len(runner.trials), budget=StudyBudget(epochs=epochs))
    assert again.is_done


def test_a_spent_budget_promotes_nothing_if_a_trial_is_complete(tmp_path):
    runner = runner_in(tmp_path, trials=12, budget=StudyBudget(epochs=200))
    steps = run_in_slots(runner, lambda trial: [trial.number + 1.0] * EPOCHS, 1)
    while TrialState.COMPLETE not in states_of(runner):
        next(steps)
    runner.studies["nft/t"].spending.epochs = 200
    assert list(steps) == []
    assert states_of(runner)[TrialState.COMPLETE] == 1
    assert runner.is_done


@pytest.mark.parametrize("is_resumed", [False, True])
@pytest.mark.parametrize("infeasible", [False, True])
def test_a_trial_that_fails_leaves_its_rungs_to_the_next_best(tmp_path, infeasible, is_resumed):
    runner = runner_in(tmp_path, trials=5)
    rising = lambda trial: [trial.number + 1.0] * EPOCHS  # noqa: E731
    steps = run_in_slots(runner, rising, 1)
    best = next(t for t, m, _ in steps if m is not None and (t.number, m.epoch) == (0, 2))
    if infeasible:
        runner.on_infeasible(best, "the settings contradict each other", reason="contradiction")
    else:
        broken = list(curve([nan] * EPOCHS))[2]
        assert runner.on_report(best, broken) is Decision.PRUNE
    ended = runner.studies["nft/t"].trials[0].state
    assert ended is (TrialState.PRUNED if infeasible else TrialState.FAILED)
    if is_resumed:
        runner = runner_in_again(tmp_path, RULE, trials=5)
    list(run_in_slots(runner, rising, 1))
    assert runner.is_done
    (complete,) = [t for t in runner.trials if t.state is TrialState.COMPLETE]
    assert complete.number == 1


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 4))
def test_a_search_in_which_any_trials_fail_ends_with_a_complete_one_if_one_is_left(
    tmp_path_factory, seed, slots
):
    rng = random.Random(seed)
    fails = {number: rng.randint(1, EPOCHS) for number in rng.sample(range(8), 5)}
    curves = [
        [nan if epoch == fails.get(number) else rng.random() for epoch in range(1, EPOCHS + 1)]
        for number in range(8)
    ]
    runner = runner_in(tmp_path_factory.mktemp("s"), trials=8,
                       policy=FailurePolicy(max_attempts=1),
                       failures=FailureBudget(max_fraction=1.0, systematic=9))  # fmt: skip
    list(run_in_slots(runner, lambda trial: curves[trial.number], slots))
    assert runner.is_done
    assert TrialState.COMPLETE in states_of(runner)


# Expected epochs


@pytest.mark.parametrize("trials", [1, 7, 12])
def test_expected_epochs_are_those_that_the_runner_spends_on_the_same_order(tmp_path, trials):
    for seed in range(2):
        order = random.Random(seed).sample(range(trials), trials)
        runner = runner_in(tmp_path / f"{seed}", trials=trials)
        steps = run_in_slots(runner, lambda trial, order=order: [order[trial.number]] * EPOCHS, 1)
        spent = sum(measurement is not None for _, measurement, _ in steps)
        assert promoted_epochs(order, EPOCHS, RULE) == spent


def test_expected_epochs_have_the_runner_s_mean_and_lie_within_what_is_possible():
    for trials in (1, 5, 40, 400):
        told = epochs_under_promotion(trials, 27, PromotionRule(rungs=(3, 9), eta=3))
        assert trials * 3 + 24 <= told.low <= told.expected <= told.high <= trials * 27
    many = epochs_under_promotion(20_000, 27, PromotionRule(rungs=(3, 9), eta=3))
    assert many.expected == pytest.approx(20_000 * (3 + 6 / 3 + 18 / 9), rel=0.03)
    assert epochs_under_promotion(4, 3, RULE).expected < 12
    assert epochs_under_promotion(4, 1, RULE).expected == 4  # no rung below its epochs
