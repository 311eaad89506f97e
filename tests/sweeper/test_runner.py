"""The runner's decisions: order, pruning, failure, retry, interruption and resumption."""

import pytest

from sweeper.policies import FailureBudget
from sweeper.runner import Infeasible, SweepRunner
from sweeper.study import Decision, Measurement, Study, TrialKind, TrialState
from tests.fakes import FixedSampler, curve, new_ledger, plan, run_scripted


def lrs(*values: float) -> list[dict[str, float]]:
    return [{"refine.lr": value} for value in values]


def test_a_bad_trial_is_pruned_and_a_failed_one_does_not_end_the_study(tmp_path):
    sampler = FixedSampler(lrs(1e-3, 1.0, 1e-4), prune_above=5.0)
    runner = SweepRunner([plan(sampler, num_trials=3)], new_ledger(tmp_path))

    run_scripted(runner, {0: [0.9, 0.4], 1: [9.0, 8.0], 2: [0.8, ValueError("boom")]})

    complete, pruned, failed = runner.trials
    assert (complete.state, complete.value, complete.best_epoch) == (TrialState.COMPLETE, 0.4, 2)
    assert complete.test == {"test/nrmse": 0.4}
    assert pruned.state is TrialState.PRUNED
    assert pruned.reason == "worse than its peers at refine epoch 1"
    assert (failed.state, failed.failure, failed.reason) == (
        TrialState.FAILED,
        "error",
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
    runner = SweepRunner([plan(FixedSampler(lrs(0.5)), num_trials=1)], new_ledger(tmp_path))
    trial = runner.next_trial()
    assert trial is not None
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
    trial = runner.next_trial()
    assert trial is not None
    assert trial.number == 2
    assert [t.state for t in runner.trials[:2]] == [TrialState.PRUNED] * 2
    assert runner.trials[0].reason == "refine.lr is above 1"
    assert [t.number for t in sampler.told] == [0, 1]


def test_a_sampled_trial_that_cannot_begin_is_pruned_with_the_reason(tmp_path):
    sampler = FixedSampler(lrs(1.0, 2.0))
    leading = [(TrialKind.PRESET, {"refine.lr": 1.0})]
    runner = SweepRunner([plan(sampler, num_trials=3, leading=leading)], new_ledger(tmp_path))
    preset, sampled = runner.next_trial(), runner.next_trial()
    assert preset is not None
    assert sampled is not None
    for trial in (preset, sampled):
        runner.refused(trial, "ConfigError: k0 is above 8 tokens", reason="k0 is above 8 tokens")

    failed, pruned = runner.trials
    assert (failed.state, failed.failure) == (TrialState.FAILED, "config")
    assert (pruned.state, pruned.failure) == (TrialState.PRUNED, "infeasible")
    assert failed.reason == pruned.reason == "k0 is above 8 tokens"
    assert sampler.told == [pruned]
    assert new_ledger(tmp_path).trials() == runner.trials


def test_a_report_without_the_objective_never_prunes(tmp_path):
    sampler = FixedSampler(lrs(1.0), prune_above=-1.0)
    runner = SweepRunner([plan(sampler, num_trials=1)], new_ledger(tmp_path))
    trial = runner.next_trial()
    alignment = Measurement(stage="meta", epoch=1, num_epochs=1, metrics={"meta/outer_loss": 1e9})
    assert trial is not None
    assert runner.measured(trial, alignment) is Decision.CONTINUE


def test_the_last_epoch_completes_even_if_it_is_bad(tmp_path):
    sampler = FixedSampler(lrs(1.0), prune_above=0.1)
    runner = SweepRunner([plan(sampler, num_trials=1)], new_ledger(tmp_path))
    run_scripted(runner, {0: [9.0]})
    assert runner.trials[0].state is TrialState.COMPLETE


def test_a_crash_is_retried_from_the_last_checkpoint_up_to_the_limit(tmp_path):
    runner = SweepRunner(
        [plan(FixedSampler(lrs(1.0)), num_trials=1)], new_ledger(tmp_path), max_attempts=2
    )
    first = runner.next_trial()
    assert first is not None
    (epoch,) = [m for m in curve([0.5, 0.4]) if m.epoch == 1]
    runner.measured(first, Measurement(**{**vars(epoch), "checkpoint": "/c/refine-0001"}))
    runner.failed(first, "ray.exceptions.ActorDiedError: the actor died")

    second = runner.next_trial()
    assert second is not None
    assert (second.number, second.attempt, second.checkpoint) == (0, 2, "/c/refine-0001")
    runner.failed(second, "ray.exceptions.ActorDiedError: the actor died")
    assert runner.trials[0].state is TrialState.FAILED
    assert runner.trials[0].failure == "crash"


def test_a_report_of_a_replaced_attempt_is_dropped(tmp_path):
    runner = SweepRunner([plan(FixedSampler(lrs(1.0)), num_trials=1)], new_ledger(tmp_path))
    zombie = runner.next_trial()
    assert zombie is not None
    runner.failed(zombie, "NodeDiedError: gone")
    second = runner.next_trial()
    assert second is not None
    for measurement in curve([0.1]):
        assert runner.measured(zombie, measurement) is Decision.PRUNE
    assert runner.trials[0].value is None
    assert runner.trials[0].state is TrialState.RUNNING


def test_a_sweep_whose_first_trials_fail_alike_is_ended(tmp_path):
    runner = SweepRunner(
        [plan(FixedSampler(lrs(*range(9))), num_trials=9)],
        new_ledger(tmp_path),
        budget=FailureBudget(systematic=3),
    )
    run_scripted(runner, {n: [TypeError("no such argument")] for n in range(9)})
    assert len(runner.trials) == 3
    assert runner.is_done
    assert runner.aborted is not None
    assert "the first 3 trials all failed alike: TypeError: no such argument" in runner.aborted


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


def test_an_interrupted_sweep_goes_on_with_exactly_the_planned_trials(tmp_path):
    first = FixedSampler(lrs(1.0, 2.0, 3.0))
    runner = SweepRunner([plan(first, num_trials=4)], new_ledger(tmp_path))
    done = runner.next_trial()
    assert done is not None
    for measurement in curve([0.3]):
        runner.measured(done, measurement)
    running = runner.next_trial()
    assert running is not None
    (epoch, _) = curve([0.2, 0.1])
    runner.measured(running, Measurement(**{**vars(epoch), "checkpoint": "/c/1"}))
    runner.interrupt()
    assert [t.state for t in runner.trials] == ["complete", "interrupted"]

    second = FixedSampler(lrs(4.0, 5.0))
    resumed = SweepRunner([plan(second, num_trials=4)], new_ledger(tmp_path))
    assert [t.number for t, _ in second.restored] == [0, 1]
    trial = resumed.next_trial()
    assert trial is not None
    assert (trial.number, trial.attempt, trial.checkpoint, trial.value) == (1, 2, "/c/1", 0.2)
    for measurement in list(curve([0.2, 0.1]))[1:]:
        resumed.measured(trial, measurement)
    run_scripted(resumed, {2: [0.5], 3: [0.6]})
    assert [t.number for t in resumed.trials] == [0, 1, 2, 3]
    assert all(t.state is TrialState.COMPLETE for t in resumed.trials)
    assert [t.number for t in second.told] == [1, 2, 3]


def test_what_still_runs_when_a_sweep_is_hopeless_is_ended_and_says_why(tmp_path):
    runner = SweepRunner(
        [plan(FixedSampler(lrs(1.0, 2.0)), num_trials=3)],
        new_ledger(tmp_path),
        budget=FailureBudget(systematic=1),
    )
    hopeless, running = runner.next_trial(), runner.next_trial()
    assert hopeless is not None
    assert running is not None
    runner.failed(hopeless, "TypeError: no such argument")
    runner.interrupt()
    ended = new_ledger(tmp_path).trials()[running.number]
    assert (ended.state, ended.reason) == (TrialState.INTERRUPTED, runner.aborted)


def test_past_its_wall_time_a_sweep_starts_nothing_new_and_lets_what_runs_finish(tmp_path):
    late = False
    runner = SweepRunner(
        [plan(FixedSampler(lrs(1.0, 2.0, 3.0)), num_trials=3)],
        new_ledger(tmp_path),
        out_of_time=lambda: late,
    )
    trial = runner.next_trial()
    assert trial is not None
    late = True
    assert runner.next_trial() is None
    assert not runner.is_done
    for measurement in curve([0.3]):
        runner.measured(trial, measurement)
    assert runner.is_done
    assert [t.state for t in runner.trials] == [TrialState.COMPLETE]


@pytest.mark.parametrize(("failed", "within"), [(1, True), (2, True), (3, False)])
def test_the_failure_budget_is_a_share_of_all_trials(tmp_path, failed, within):
    runner = SweepRunner([plan(FixedSampler(lrs(*range(10))), num_trials=10)], new_ledger(tmp_path))
    script = {n: [ValueError(f"no {n}")] if 0 < n <= failed else [0.1] for n in range(10)}
    run_scripted(runner, script)
    assert FailureBudget(max_fraction=0.2).is_within(runner.trials) is within


def test_a_trial_whose_driver_died_after_its_last_epoch_is_complete_not_run_again(tmp_path):
    runner = SweepRunner([plan(FixedSampler(lrs(1.0)), num_trials=1)], new_ledger(tmp_path))
    trial = runner.next_trial()
    assert trial is not None
    for measurement in curve([0.3, 0.2]):  # the ledger heard the last one, and nothing after it
        new_ledger(tmp_path).measure(trial.study, trial.number, trial.attempt, measurement)

    sampler = FixedSampler([])
    resumed = SweepRunner([plan(sampler, num_trials=1)], new_ledger(tmp_path))

    assert resumed.is_done
    (done,) = resumed.trials
    assert (done.state, done.attempt, done.value) == (TrialState.COMPLETE, 1, 0.2)
    assert done.test == {"test/nrmse": 0.2}
    assert sampler.told == [done]
    assert new_ledger(tmp_path).trials() == (done,)


def test_a_trial_that_has_ended_is_not_ended_again(tmp_path):
    sampler = FixedSampler(lrs(1.0))
    runner = SweepRunner([plan(sampler, num_trials=1)], new_ledger(tmp_path))
    trial = runner.next_trial()
    assert trial is not None
    for measurement in curve([0.3]):
        runner.measured(trial, measurement)
    runner.failed(trial, "ActorDiedError: while it was being stopped")
    assert [t.state for t in new_ledger(tmp_path).trials()] == [TrialState.COMPLETE]
    assert len(sampler.told) == 1
