"""The runner's decisions: order, pruning, failure, retry, interruption and resumption."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sweeper.core.policies import Action, FailureBudget, FailurePolicy
from sweeper.core.protocols import Hook
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import Infeasible
from sweeper.execution.memory_kills import MemoryKills
from sweeper.execution.ray_executor import Judge
from sweeper.model import Decision, Study, Trial, TrialKind, TrialState
from tests.support.fakes import (
    STUDY,
    FixedSampler,
    curve,
    measure,
    new_ledger,
    plan,
    run_scripted,
    started,
)
from tests.support.trials import sampled
from trainables.report import Failed, Measurement


def lrs(*values: float) -> list[dict[str, float]]:
    return [{"refine.lr": value} for value in values]


def trials_of(
    tmp_path, num_trials: int, sampler: FixedSampler | None = None, **options
) -> SweepRunner:
    """Return the runner of a study, with draws that do not matter unless a sampler is given."""
    sampler = sampler or FixedSampler(lrs(*range(num_trials)))
    return SweepRunner([plan(sampler, num_trials=num_trials)], new_ledger(tmp_path), **options)


def test_a_bad_trial_is_pruned_and_a_failed_one_does_not_end_the_study(tmp_path):
    sampler = FixedSampler(lrs(1e-3, 1.0, 1e-4), prune_above=5.0)
    runner = trials_of(tmp_path, 3, sampler)

    run_scripted(runner, {0: [0.9, 0.4], 1: [9.0, 8.0], 2: [0.8, ValueError("boom")]})

    complete, pruned, failed = runner.trials
    assert (complete.state, complete.value, complete.best_epoch) == (TrialState.COMPLETE, 0.4, 2)
    assert complete.test == {"test/nrmse": 0.4}
    assert pruned.state is TrialState.PRUNED
    assert pruned.reason == "worse than its peers at refine epoch 1"
    assert (failed.state, failed.failure, failed.reason) == (
        TrialState.FAILED,
        "crash",
        "ValueError: boom",
    )
    assert runner.is_done
    assert sampler.told == list(runner.trials)
    assert new_ledger(tmp_path).trials() == runner.trials


def test_leading_trials_run_first_are_never_told_and_never_pruned(tmp_path):
    sampler = FixedSampler(lrs(1e-3), prune_above=0.1)
    leading = [(TrialKind.PRESET, {"refine.lr": 1.0}), (TrialKind.CONTROL, {"refine.lr": 2.0})]
    runner = SweepRunner([plan(sampler, num_trials=3, leading=leading)], new_ledger(tmp_path))

    run_scripted(runner, {0: [9.0, 8.0], 1: [9.0, 8.0], 2: [9.0, 8.0]})

    assert [t.kind for t in runner.trials] == ["preset", "control", "sampled"]
    assert [t.state for t in runner.trials] == ["complete", "complete", "pruned"]
    assert [t.number for t in sampler.told] == [2]


def test_params_hold_fixed_ones_and_name_what_was_sampled(tmp_path):
    runner = trials_of(tmp_path, 1, FixedSampler(lrs(0.5)))
    trial = started(runner)
    assert trial.params == {"refine.lr": 0.5, "refine.epochs": 2}
    assert trial.sampled == ("refine.lr",)
    assert trial.seed == 1000


def test_an_infeasible_suggestion_is_pruned_with_its_reason_without_running(tmp_path):
    def complete(params):
        if params["refine.lr"] > 1:
            raise Infeasible("refine.lr is above 1")
        return params

    sampler = FixedSampler(lrs(2.0, 3.0, 0.5))
    runner = SweepRunner([plan(sampler, num_trials=3, complete=complete)], new_ledger(tmp_path))
    trial = started(runner)
    assert trial.number == 2
    assert [t.state for t in runner.trials[:2]] == [TrialState.PRUNED] * 2
    assert runner.trials[0].reason == "refine.lr is above 1"
    assert [t.number for t in sampler.told] == [0, 1]


def test_a_sampled_trial_that_cannot_begin_is_pruned_with_the_reason(tmp_path):
    sampler = FixedSampler(lrs(1.0, 2.0))
    leading = [(TrialKind.PRESET, {"refine.lr": 1.0})]
    runner = SweepRunner([plan(sampler, num_trials=3, leading=leading)], new_ledger(tmp_path))
    preset, sampled = started(runner), started(runner)
    for trial in (preset, sampled):
        runner.on_infeasible(
            trial,
            "trainables.errors.ConfigError: k0 is above 8 tokens",
            reason="k0 is above 8 tokens",
        )

    failed, pruned = runner.trials
    assert (failed.state, failed.failure) == (TrialState.FAILED, "config")
    assert (pruned.state, pruned.failure) == (TrialState.PRUNED, "infeasible")
    assert failed.reason == pruned.reason == "k0 is above 8 tokens"
    assert sampler.told == [pruned]
    assert new_ledger(tmp_path).trials() == runner.trials


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("before", [[], [0.5]])
def test_an_objective_that_is_not_finite_fails_the_trial_and_is_never_best(tmp_path, before, value):
    sampler = FixedSampler(lrs(1.0, 2.0))
    runner = trials_of(tmp_path, 2, sampler)
    run_scripted(runner, {0: [*before, value, 0.1], 1: [0.9]})
    failed, complete = runner.trials
    assert (failed.state, failed.failure) == (TrialState.FAILED, "non_finite")
    assert failed.reason == f"val/nrmse became {value} in epoch {len(before) + 1}"
    assert failed.value == (0.5 if before else None)
    assert complete.value == 0.9
    assert [t.state for t in sampler.told] == [TrialState.FAILED, TrialState.COMPLETE]


def test_a_report_without_the_objective_never_prunes(tmp_path):
    sampler = FixedSampler(lrs(1.0), prune_above=-1.0)
    runner = trials_of(tmp_path, 1, sampler)
    trial = runner.next_trial()
    alignment = Measurement(stage="meta", epoch=1, num_epochs=1, metrics={"meta/outer_loss": 1e9})
    assert trial is not None
    assert runner.on_report(trial, alignment) is Decision.CONTINUE


def test_the_last_epoch_completes_even_if_it_is_bad(tmp_path):
    sampler = FixedSampler(lrs(1.0), prune_above=0.1)
    runner = trials_of(tmp_path, 1, sampler)
    run_scripted(runner, {0: [9.0]})
    assert runner.trials[0].state is TrialState.COMPLETE


def test_a_crash_is_retried_from_the_last_checkpoint_up_to_the_limit(tmp_path):
    runner = trials_of(tmp_path, 1, policy=FailurePolicy(max_attempts=2))
    first = started(runner)
    (epoch,) = [m for m in curve([0.5, 0.4]) if m.epoch == 1]
    runner.on_report(first, Measurement(**{**vars(epoch), "checkpoint": "/c/refine-0001"}))
    runner.on_failure(first, "ray.exceptions.ActorDiedError: the actor died")

    second = started(runner)
    assert (second.number, second.attempt, second.checkpoint) == (0, 2, "/c/refine-0001")
    runner.on_failure(second, "ray.exceptions.ActorDiedError: the actor died")
    assert runner.trials[0].state is TrialState.FAILED
    assert runner.trials[0].failure == "crash"


class Epochs(Hook):
    """A hook that keeps the epochs which a display is shown."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        self.seen += [] if measurement is None else [measurement.epoch]


@pytest.mark.parametrize("is_resumed", [True, False])
def test_an_epoch_that_is_computed_again_is_measured_once_and_names_its_checkpoint(
    tmp_path, is_resumed
):
    """It comes after an older checkpoint. The pruner, which judges otherwise now, is not asked."""
    sampler, shown = FixedSampler(lrs(1.0)), Epochs()
    runner = trials_of(tmp_path, 1, sampler)
    first = started(runner)
    epochs = list(curve([0.5, 0.4, 0.3, 0.2]))
    for epoch in epochs[:3]:
        assert runner.on_report(first, epoch) is Decision.CONTINUE
    runner.on_failure(first, "ValueError: boom")
    if is_resumed:
        sampler = FixedSampler([])
        runner = trials_of(tmp_path, 1, sampler)
    sampler.prune_above = 0.0
    runner.watch(shown)
    second = started(runner)
    for number, epoch in enumerate(epochs[1:3], start=1):
        again = replace(epoch, checkpoint=f"attempt-2/refine-000{number}")
        assert runner.on_report(second, again) is Decision.CONTINUE
    ledger = new_ledger(tmp_path)
    assert [m.epoch for m in ledger.measurements(STUDY.name, 0)] == [1, 2, 3]
    assert ledger.trial(STUDY.name, 0).checkpoint == "attempt-2/refine-0002"
    assert shown.seen == [2, 3]
    if not is_resumed:  # the same error without a new epoch in between is the trial's own
        runner.on_failure(second, "ValueError: boom")
        assert runner.trials[0].state is TrialState.FAILED
        return
    assert runner.on_report(second, epochs[3]) is Decision.CONTINUE
    assert runner.trials[0].state is TrialState.COMPLETE
    assert [m.epoch for m in ledger.measurements(STUDY.name, 0)] == [1, 2, 3, 4]


def test_the_checkpoint_of_a_failed_attempt_is_named_and_that_of_a_replaced_one_is_not(tmp_path):
    runner = trials_of(tmp_path, 1)
    first = started(runner)
    judge = Judge(runner, SimpleNamespace(trials={}), lambda line: None, MemoryKills())
    name = "attempt-1/refine-0001"
    failed = Failed(traceback="E: x", reason="x", error="E", checkpoint=f"/any/where/{name}")
    assert judge.is_over(first, failed)
    second = started(runner)
    assert (second.attempt, second.checkpoint) == (2, name)
    runner.on_checkpoint(first, "attempt-1/refine-0002")
    assert runner.trials[0].checkpoint == new_ledger(tmp_path).trials()[0].checkpoint == name


def test_a_report_of_a_replaced_attempt_is_dropped(tmp_path):
    runner = trials_of(tmp_path, 1)
    zombie = started(runner)
    runner.on_failure(zombie, "NodeDiedError: gone")
    started(runner)
    for measurement in curve([0.1]):
        assert runner.on_report(zombie, measurement) is Decision.PRUNE
    assert runner.trials[0].value is None
    assert runner.trials[0].state is TrialState.RUNNING


def test_a_sweep_whose_first_trials_fail_alike_is_ended(tmp_path):
    runner = trials_of(tmp_path, 9, budget=FailureBudget(systematic=3))
    run_scripted(runner, {n: [TypeError("no such argument")] for n in range(9)})
    assert len(runner.trials) == 3
    assert runner.is_done
    assert runner.aborted is not None
    assert "the first 3 trials all failed alike: TypeError: no such argument" in runner.aborted


def test_a_resumed_sweep_that_has_measured_is_not_ended_by_trials_that_fail_alike(tmp_path):
    budget = FailureBudget(systematic=3, max_fraction=1.0)
    runner = trials_of(tmp_path, 9, budget=budget)
    runner.on_report(started(runner), next(iter(curve([0.5, 0.4]))))
    resumed = trials_of(tmp_path, 9, FixedSampler(lrs(*[1.0] * 9)), budget=budget)
    run_scripted(resumed, {n: [TypeError("no such argument")] for n in range(9)})
    assert len(resumed.trials) == 9


def test_studies_take_turns(tmp_path):
    studies = [
        Study(name=f"nft/{t}", method="nft", task=t, objective="val/nrmse", seed=0) for t in "ab"
    ]
    plans = [plan(FixedSampler(lrs(1.0, 2.0)), num_trials=2, study=s) for s in studies]
    runner = SweepRunner(plans, new_ledger(tmp_path))
    taken = [runner.next_trial() for _ in range(5)]
    assert [(t.study, t.number) if t else None for t in taken] == [
        ("nft/a", 0),
        ("nft/b", 0),
        ("nft/a", 1),
        ("nft/b", 1),
        None,
    ]


def test_lower_rungs_of_a_ladder_start_first(tmp_path):
    plans = [
        plan(
            FixedSampler(lrs(1.0, 2.0)),
            num_trials=2,
            study=Study(name=name, method="nft", task="t", objective="val/nrmse", seed=0),
            rung=rung,
        )
        for name, rung in (("a/large", 1), ("a/small", 0), ("b/large", 1), ("b/small", 0))
    ]
    runner = SweepRunner(plans, new_ledger(tmp_path))
    taken = [trial.study for _ in range(8) if (trial := runner.next_trial()) is not None]
    assert taken == [*["a/small", "b/small"] * 2, *["a/large", "b/large"] * 2]


def test_an_interrupted_sweep_goes_on_with_exactly_the_planned_trials(tmp_path):
    first = FixedSampler(lrs(1.0, 2.0, 3.0))
    runner = trials_of(tmp_path, 4, first)
    done = started(runner)
    measure(runner, done, 0.3)
    running = started(runner)
    (epoch, _) = curve([0.2, 0.1])
    runner.on_report(running, Measurement(**{**vars(epoch), "checkpoint": "/c/1"}))
    runner.interrupt()
    assert [t.state for t in runner.trials] == ["complete", "interrupted"]

    second = FixedSampler(lrs(4.0, 5.0))
    resumed = trials_of(tmp_path, 4, second)
    assert [t.number for t, _ in second.restored] == [0, 1]
    trial = started(resumed)
    assert (trial.number, trial.attempt, trial.checkpoint, trial.value) == (1, 2, "/c/1", 0.2)
    for measurement in list(curve([0.2, 0.1]))[1:]:
        resumed.on_report(trial, measurement)
    run_scripted(resumed, {2: [0.5], 3: [0.6]})
    assert [t.number for t in resumed.trials] == [0, 1, 2, 3]
    assert all(t.state is TrialState.COMPLETE for t in resumed.trials)
    assert [t.number for t in second.told] == [1, 2, 3]


def test_what_still_runs_when_a_sweep_is_hopeless_is_ended_and_says_why(tmp_path):
    runner = trials_of(tmp_path, 3, budget=FailureBudget(systematic=1))
    hopeless, running = started(runner), started(runner)
    runner.on_failure(hopeless, "TypeError: no such argument")
    runner.interrupt()
    ended = new_ledger(tmp_path).trials()[running.number]
    assert (ended.state, ended.reason) == (TrialState.INTERRUPTED, runner.aborted)


def test_past_its_wall_time_a_sweep_starts_nothing_new_and_lets_what_runs_finish(tmp_path):
    late = False
    runner = trials_of(tmp_path, 3, out_of_time=lambda: late)
    trial = started(runner)
    late = True
    assert runner.next_trial() is None
    assert not runner.is_done
    measure(runner, trial, 0.3)
    assert runner.is_done
    assert [t.state for t in runner.trials] == [TrialState.COMPLETE]


@pytest.mark.parametrize(("failed", "within"), [(1, True), (2, True), (3, False)])
def test_the_failure_budget_is_a_share_of_all_trials(tmp_path, failed, within):
    runner = trials_of(tmp_path, 10)
    script = {n: [ValueError(f"no {n}")] if 0 < n <= failed else [0.1] for n in range(10)}
    run_scripted(runner, script)
    assert FailureBudget(max_fraction=0.2).is_within(runner.trials) is within


class Dying(Hook):
    """A hook that ends the driver as soon as it hears of an epoch."""

    def changed(self, trial, measurement=None) -> None:
        if measurement is not None:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("values", "state"), [([0.3], TrialState.COMPLETE), ([9.0, 8.0], TrialState.PRUNED)]
)
def test_the_end_that_an_epoch_brings_is_committed_with_it(tmp_path, values, state):
    runner = SweepRunner(
        [plan(FixedSampler(lrs(1.0), prune_above=5.0), num_trials=1)],
        new_ledger(tmp_path),
        hooks=[Dying()],
    )
    trial = started(runner)
    with pytest.raises(KeyboardInterrupt):
        runner.on_report(trial, next(curve(values)))

    sampler = FixedSampler([])
    resumed = trials_of(tmp_path, 1, sampler)

    assert resumed.is_done
    (done,) = resumed.trials
    assert (done.state, done.attempt, done.value) == (state, 1, values[0])
    assert [t.state for t, _ in sampler.restored] == [state]


def test_a_trial_that_has_ended_is_not_ended_again(tmp_path):
    sampler = FixedSampler(lrs(1.0))
    runner = trials_of(tmp_path, 1, sampler)
    trial = started(runner)
    measure(runner, trial, 0.3)
    runner.on_failure(trial, "ActorDiedError: while it was being stopped")
    assert [t.state for t in new_ledger(tmp_path).trials()] == [TrialState.COMPLETE]
    assert len(sampler.told) == 1


def test_out_of_memory_halves_the_batch_until_it_cannot(tmp_path):
    runner = trials_of(tmp_path, 1, can_halve=lambda trial, stage: trial.halvings < 1)
    runner.on_failure(
        started(runner), "CUDA out of memory. Tried to allocate 2 GiB", stage="refine"
    )
    again = started(runner)
    assert (again.attempt, again.halvings) == (2, 1)
    runner.on_failure(again, "CUDA out of memory. Tried to allocate 2 GiB", stage="refine")
    (failed,) = new_ledger(tmp_path).trials()
    assert (failed.state, failed.failure, failed.halvings) == (TrialState.FAILED, "cuda_oom", 1)
    ended = [e.payload for e in new_ledger(tmp_path).events() if e.kind == "attempt_ended"]
    assert [e["halvings"] for e in ended] == [1, None]


def test_an_exception_that_comes_again_at_once_is_not_retried_a_third_time(tmp_path):
    runner = trials_of(tmp_path, 1)
    runner.on_failure(started(runner), "ValueError: boom")
    runner.on_failure(started(runner), "ValueError: boom")
    assert [t.state for t in runner.trials] == [TrialState.FAILED]


def test_a_process_that_dies_the_same_way_again_may_have_bad_luck(tmp_path):
    runner = trials_of(tmp_path, 1)
    for _ in range(2):
        runner.on_failure(started(runner), "ActorDiedError: the worker died", died=True)
    assert started(runner).attempt == 3


def test_a_lost_node_and_a_stop_do_not_use_up_a_trials_attempts(tmp_path):
    runner = trials_of(tmp_path, 1, policy=FailurePolicy(max_attempts=1))
    runner.on_failure(started(runner), "NodeDiedError: gone", died=True)
    started(runner)
    runner.interrupt()
    resumed = trials_of(tmp_path, 1, policy=FailurePolicy(max_attempts=1))
    trial = started(resumed)
    assert (trial.attempt, trial.uncounted) == (3, 2)
    resumed.on_failure(trial, "ValueError: boom")
    assert resumed.trials[0].state is TrialState.FAILED


def test_a_driver_that_died_is_written_down_and_not_counted(tmp_path):
    started(trials_of(tmp_path, 1))
    trials_of(tmp_path, 1)
    (trial,) = new_ledger(tmp_path).trials()
    assert (trial.state, trial.reason, trial.uncounted) == (
        TrialState.INTERRUPTED,
        "its driver died",
        1,
    )


def test_trials_that_fail_alike_before_any_epoch_end_the_sweep_before_their_retries(tmp_path):
    runner = trials_of(tmp_path, 9)
    for number in range(3):  # a new one each time, though the ones before could be tried again
        trial = started(runner)
        assert trial.number == number
        runner.on_failure(trial, f"HostOutOfMemory: 0.3{number} GiB held, limit 0.05 GiB")
    assert "the first 3 trials all failed alike: HostOutOfMemory: 0.32 GiB held" in runner.aborted
    assert runner.is_done


@pytest.mark.parametrize(
    "error", ["trainables.errors.StorageError: no answer", "Its node has died"]
)
def test_trials_that_fail_alike_through_no_fault_of_theirs_do_not_end_the_sweep(tmp_path, error):
    runner = trials_of(tmp_path, 9)
    for _ in range(5):
        runner.on_failure(started(runner), error)
    assert runner.aborted is None


def test_interruptions_take_none_of_the_attempts_that_a_lost_node_has(tmp_path):
    runner = trials_of(tmp_path, 1)
    for _ in range(60):
        started(runner)
        runner.interrupt()
        runner = trials_of(tmp_path, 1)
    for _ in range(50):
        runner.on_failure(started(runner), "Its node has died")
    runner.on_failure(started(runner), "Its node has died")
    assert [trial.state for trial in runner.trials] == [TrialState.FAILED]


def test_too_many_failures_end_the_sweep_and_say_so(tmp_path):
    policy = FailurePolicy(actions={**FailurePolicy().actions, "crash": Action.FAIL})
    runner = trials_of(tmp_path, 10, policy=policy)
    script = {n: [0.1] if n == 0 else [ValueError(f"no {n}")] for n in range(10)}
    run_scripted(runner, script)
    assert len(runner.trials) == 4
    assert "3 of 10 trials failed" in runner.aborted


def test_a_drained_sweep_lets_what_runs_finish(tmp_path):
    runner = trials_of(tmp_path, 2)
    trial = started(runner)
    runner.drain()
    assert runner.next_trial() is None
    assert not runner.is_done
    measure(runner, trial, 0.3)
    assert runner.is_done
    assert len(runner.trials) == 1


def test_a_paused_sweep_starts_nothing_and_is_not_done(tmp_path):
    runner = trials_of(tmp_path, 1)
    runner.paused = "no space left"
    assert runner.next_trial() is None
    assert not runner.is_done
    runner.paused = None
    assert started(runner).number == 0


def test_a_trial_beside_the_search_runs_is_never_told_and_takes_no_number_of_it(tmp_path):
    sampler = FixedSampler(lrs(1.0, 2.0), prune_above=5.0)
    run_scripted(trials_of(tmp_path, 1, sampler), {0: [0.5]})
    (origin,) = new_ledger(tmp_path).trials()
    same = {"params": origin.params, "seed": origin.seed}
    rerun = sampled(origin.study, 100_000, kind=TrialKind.RERUN, origin=0, **same)
    new_ledger(tmp_path).add_trial(rerun)
    later = FixedSampler(lrs(2.0), prune_above=5.0)
    runner = trials_of(tmp_path, 2, later)
    assert runner.num_planned == 3
    run_scripted(runner, {100_000: [9.0], 1: [0.4]})
    assert [(t.number, t.state) for t in sorted(runner.trials, key=lambda t: t.number)] == [
        (0, "complete"),
        (1, "complete"),
        (100_000, "complete"),
    ]
    assert [t.number for t, _ in later.restored] == [0]
    assert [t.number for t in later.told] == [1]


def replicated(tmp_path, sampler, *, trials: int = 3, seeds: tuple[int, ...] = (7, 8)):
    leading = [(TrialKind.PRESET, {"refine.lr": 1.0}), (TrialKind.CONTROL, {"refine.lr": 2.0})]
    study = plan(sampler, num_trials=trials, leading=leading)
    return SweepRunner(
        [replace(study, replication=Replication(top=1, seeds=seeds))], new_ledger(tmp_path)
    )


def test_once_the_search_is_over_the_best_and_the_control_are_repeated_on_other_seeds(tmp_path):
    sampler = FixedSampler(lrs(3.0), prune_above=5.0)
    runner = replicated(tmp_path, sampler)
    assert runner.num_planned == 3 + 2 * 2
    again = {100_000 + k: [9.0] for k in range(4)}
    run_scripted(runner, {0: [0.5], 1: [0.4], 2: [0.3], **again})
    assert runner.is_done
    extra = [t for t in runner.trials if t.kind is TrialKind.REPLICATE]
    assert [(t.origin, t.seed, t.state) for t in extra] == [
        (2, 7, "complete"),
        (1, 7, "complete"),
        (2, 8, "complete"),
        (1, 8, "complete"),
    ]
    assert extra[0].params == runner.trials[2].params
    assert [t.number for t in sampler.told] == [2]


def test_replicates_are_planned_once_whatever_happens_in_between(tmp_path):
    runner = replicated(tmp_path, FixedSampler(lrs(3.0)))
    for _ in range(3):
        measure(runner, started(runner), 0.5)
    assert started(runner).kind is TrialKind.REPLICATE
    resumed = replicated(tmp_path, FixedSampler([]))
    assert resumed.num_planned == 7
    run_scripted(resumed, {100_000 + k: [0.1] for k in range(4)})
    assert resumed.is_done
    assert len(resumed.trials) == 7
    done = replicated(tmp_path, FixedSampler([]))
    assert done.is_done
    assert done.next_trial() is None


def test_a_longer_search_repeats_only_what_is_new_among_the_best(tmp_path):
    runner = replicated(tmp_path, FixedSampler(lrs(3.0)), seeds=(7,))
    run_scripted(runner, {0: [0.5], 1: [0.4], 2: [0.3], 100_000: [0.3], 100_001: [0.4]})
    longer = replicated(tmp_path, FixedSampler(lrs(4.0)), trials=4, seeds=(7,))
    assert not longer.is_done
    run_scripted(longer, {3: [0.1], 100_002: [0.1]})
    assert longer.is_done
    extra = [t.origin for t in longer.trials if t.kind is TrialKind.REPLICATE]
    assert sorted(extra) == [1, 2, 3]


ARM = Study(name="nft/t/refine.freeze=body", method="nft", task="t", objective="val/nrmse", seed=0)


def with_arm(tmp_path, sampler: FixedSampler) -> SweepRunner:
    """A study of two trials, and an arm that pins a setting of its best trial, with two seeds."""
    arm = replace(
        plan(FixedSampler([]), num_trials=1, study=ARM, leading=[(TrialKind.PRESET, {})]),
        base="nft/t",
        on_base=lambda params: {**params, "refine.freeze": "body"},
        replication=Replication(top=1, seeds=(7, 8)),
    )
    return SweepRunner([plan(sampler, num_trials=2), arm], new_ledger(tmp_path))


def test_an_arm_waits_for_its_base_and_has_the_settings_of_its_best_trial(tmp_path):
    runner = with_arm(tmp_path, FixedSampler(lrs(3.0, 4.0)))
    both = [started(runner), started(runner)]
    assert {trial.study for trial in both} == {"nft/t"}
    assert runner.next_trial() is None
    for trial, value in zip(both, (0.5, 0.4), strict=True):
        assert not runner.is_done
        measure(runner, trial, value)
    resumed = with_arm(tmp_path, FixedSampler([]))
    run_scripted(resumed, {0: [0.3], 100_000: [0.3], 100_001: [0.3]})
    assert resumed.is_done
    params = {**both[1].params, "refine.freeze": "body"}
    of_arm = [t for t in resumed.trials if t.study == ARM.name]
    assert [(t.kind, t.params) for t in of_arm] == [
        (TrialKind.PRESET, params), (TrialKind.REPLICATE, params), (TrialKind.REPLICATE, params)
    ]  # fmt: skip


def test_an_arm_of_a_base_without_a_complete_trial_never_begins(tmp_path):
    runner = with_arm(tmp_path, FixedSampler(lrs(3.0, 4.0)))
    run_scripted(runner, {0: [float("nan")], 1: [float("nan")]})
    assert runner.is_done
    assert {trial.study for trial in runner.trials} == {"nft/t"}


def test_the_failure_of_a_former_attempt_does_not_count_against_the_sweep(tmp_path):
    runner = trials_of(tmp_path, 1, budget=FailureBudget(systematic=1))
    first = started(runner)
    runner.on_failure(first, "NodeDiedError: gone")
    again = started(runner)
    assert again.attempt == first.attempt + 1
    runner.on_failure(first, "ValueError: late")
    assert runner.aborted is None
    assert runner.trials[0].attempt == again.attempt
