"""Budgets of a study's search: when it ends, what counts, and that a resume counts the same."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.core.budget import Spending, StudyBudget, ended_early
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import Infeasible
from sweeper.ledger import Ledger
from sweeper.model import Decision, Outcome, Params, Trial, TrialKind, TrialState
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
from tests.support.trials import measured
from trainables.report import Measurement

LEADING = ((TrialKind.PRESET, {"refine.lr": 1.0}), (TrialKind.CONTROL, {"refine.lr": 1.0}))
FOREVER = 1000  # trials


def sampler(prune_above: float = float("inf")) -> FixedSampler:
    return FixedSampler([{"refine.lr": 0.1}] * FOREVER, prune_above=prune_above)


def make(
    folder: Path,
    budget: StudyBudget,
    *,
    prune_above: float = float("inf"),
    replication: Replication | None = None,
    complete: Callable[[Params], Params] = lambda params: params,
    ledger: Ledger | None = None,
) -> SweepRunner:
    made = plan(
        sampler(prune_above),
        num_trials=FOREVER,
        leading=LEADING,
        budget=budget,
        replication=replication,
        complete=complete,
    )
    return SweepRunner([made], ledger or new_ledger(folder))


class Curves(dict[int, list[float]]):
    """Two epochs for each trial, which end at its value; 5 for those that have none."""

    def __missing__(self, number: int) -> list[float]:
        return [6.0, 5.0]


def spending_of(runner: SweepRunner) -> Spending:
    return runner.studies[STUDY.name].spending


def reason_of(runner: SweepRunner) -> str | None:
    return runner.studies[STUDY.name].ended_early


def test_no_trial_starts_once_the_epochs_are_spent(tmp_path):
    runner = make(tmp_path, StudyBudget(epochs=9))
    run_scripted(runner, Curves())
    # Preset and four sampled trials have two epochs each; the control does not count.
    assert [t.number for t in runner.trials] == [0, 1, 2, 3, 4, 5]
    assert spending_of(runner).epochs == 10
    assert reason_of(runner) == "`budget.epochs: 9` is spent"
    assert runner.is_done
    assert runner.num_planned == runner.num_settled == 6


def test_a_last_step_that_is_reported_again_as_final_counts_once(tmp_path):
    runner = make(tmp_path, StudyBudget(epochs=100))
    for _ in range(2):
        trial = started(runner)
        for epoch, is_final in ((1, False), (2, False), (2, True)):
            runner.on_report(trial, measured(epoch, 1.0, num_epochs=epoch, is_final=is_final))
    assert spending_of(runner).epochs == 2  # of the preset; the control does not count
    assert spending_of(make(tmp_path, StudyBudget(epochs=100))).epochs == 2


def test_running_trials_finish_after_the_budget_is_spent(tmp_path):
    runner = make(tmp_path, StudyBudget(epochs=3))
    running = [runner.next_trial() for _ in range(4)]
    for trial in running:
        assert trial is not None
        for measurement in curve([3.0, 2.0]):
            assert runner.on_report(trial, measurement) is Decision.CONTINUE
    assert runner.next_trial() is None
    assert {t.state for t in runner.trials} == {TrialState.COMPLETE}
    assert spending_of(runner).epochs == 6
    assert runner.is_done


def test_the_preset_and_the_control_run_with_any_budget(tmp_path):
    runner = make(tmp_path, StudyBudget(epochs=1))
    run_scripted(runner, Curves())
    assert [t.kind for t in runner.trials] == [TrialKind.PRESET, TrialKind.CONTROL]
    assert runner.is_done


def test_replicates_follow_a_search_that_ends_early(tmp_path):
    runner = make(tmp_path, StudyBudget(epochs=5), replication=Replication(top=1, seeds=(7, 8)))
    run_scripted(runner, Curves({2: [3.0, 1.0]}))
    replicates = [t for t in runner.trials if t.kind is TrialKind.REPLICATE]
    assert sorted((t.origin, t.seed) for t in replicates) == [(1, 7), (1, 8), (2, 7), (2, 8)]
    assert spending_of(runner).epochs == 6  # of preset and two sampled trials
    assert runner.is_done


def test_a_search_without_improvement_ends_and_each_improvement_counts_anew(tmp_path):
    runner = make(tmp_path, StudyBudget(no_improvement=4))
    # Trials 2 to 4 do not improve the preset's 5, trial 5 does; the control's 1 is no best.
    run_scripted(runner, Curves({1: [1.0, 1.0], 5: [4.0, 4.0]}))
    assert [t.number for t in runner.trials] == list(range(10))
    assert reason_of(runner) == (
        "4 trials in a row have not improved the best (`budget.no_improvement: 4`)"
    )


def test_pruned_trials_have_not_improved_and_failed_or_infeasible_ones_say_nothing(tmp_path):
    numbers = iter(range(2, FOREVER))

    def complete(params: Params) -> Params:
        if next(numbers) == 4:
            raise Infeasible("contradiction")
        return params

    runner = make(tmp_path, StudyBudget(no_improvement=3), prune_above=8, complete=complete)
    run_scripted(runner, Curves({2: [9.0, 1.0], 3: [ValueError("x")] * 2, 5: [9.0]}))  # type: ignore[list-item]
    states = [(t.number, t.state.value) for t in runner.trials]
    assert states == [
        (0, "complete"), (1, "complete"), (2, "pruned"), (3, "failed"), (4, "pruned"),
        (5, "complete"), (6, "complete"),
    ]  # fmt: skip
    assert spending_of(runner).idle == 3


def test_a_running_trial_that_improves_opens_the_search_again(tmp_path):
    runner = make(tmp_path, StudyBudget(no_improvement=1))
    trials = [runner.next_trial() for _ in range(4)]
    for trial, value in zip(trials[:3], (5.0, 5.0, 6.0), strict=True):
        assert trial is not None
        measure(runner, trial, value)
    assert runner.next_trial() is None
    assert not runner.is_done
    assert trials[3] is not None
    measure(runner, trials[3], 4.0)
    assert runner.next_trial() is not None


def timed(epoch: int, seconds: float, *, is_final: bool = False) -> Measurement:
    return Measurement(stage="refine", epoch=epoch, num_epochs=3, metrics={}, objective=1.0,
                       seconds=seconds, is_final=is_final)  # fmt: skip


def test_device_hours_are_those_of_all_attempts_up_to_their_last_epochs(tmp_path):
    budget = StudyBudget(device_hours=2.0, devices=4.0)
    runner = make(tmp_path, budget)
    trial = started(runner)
    runner.on_report(trial, timed(1, 600.0))
    runner.on_report(trial, timed(2, 900.0))
    runner.on_failure(trial, "ValueError: x")
    again = started(runner)
    runner.on_report(again, timed(3, 700.0, is_final=True))
    assert spending_of(runner).device_hours == pytest.approx(4 * 1600 / 3600)
    assert reason_of(runner) is None
    while (other := runner.next_trial()) is not None:
        runner.on_report(other, timed(1, 100.0, is_final=True))
    assert len(runner.trials) == 2 + 2  # 1800 s of preset and sampled trials; the control is free
    assert reason_of(runner) == "`budget.device_hours: 2` is spent"


@pytest.mark.parametrize("seed", range(4))
def test_a_resume_at_any_trial_counts_as_an_uninterrupted_search(tmp_path, seed):
    budget = StudyBudget(epochs=60, device_hours=3.0, no_improvement=6, devices=2.0)

    def run(folder: Path, *, resumes: bool) -> tuple[list[Trial], list[object]]:
        rng, counts = random.Random(seed), []
        runner = make(folder, budget, prune_above=9)
        ledger = new_ledger(folder)
        while (trial := runner.next_trial()) is not None:
            rng.seed(f"{seed} {trial.number} {trial.attempt}")
            length = rng.randint(1, 4)
            for epoch in range(1, length + 1):
                facts = {"num_epochs": length, "is_final": epoch == length}
                measurement = measured(epoch, rng.uniform(0, 10), seconds=100.0 * epoch, **facts)
                if rng.random() < 0.05:
                    runner.on_failure(trial, "ValueError: x")
                    break
                if runner.on_report(trial, measurement) is Decision.PRUNE:
                    break
            spent = spending_of(runner)
            counts.append((spent.epochs, spent.idle, spent.device_hours, spent.reason))
            if resumes:
                runner = make(folder, budget, prune_above=9, ledger=ledger)
                again = spending_of(runner)
                assert (again.epochs, again.idle, again.device_hours, again.reason) == counts[-1]
        return list(runner.trials), counts

    whole, resumed = run(tmp_path / "a", resumes=False), run(tmp_path / "b", resumes=True)
    assert whole == resumed
    assert whole[1][-1][3] is not None  # type: ignore[index]


def test_a_raised_budget_goes_on(tmp_path):
    ledger = new_ledger(tmp_path)
    run_scripted(make(tmp_path, StudyBudget(epochs=6), ledger=ledger), Curves())
    same = make(tmp_path, StudyBudget(epochs=6), ledger=ledger)
    assert same.next_trial() is None
    assert same.is_done
    raised = make(tmp_path, StudyBudget(epochs=10), ledger=ledger)
    run_scripted(raised, Curves())
    assert spending_of(raised).epochs == 10
    assert make(tmp_path, StudyBudget(), ledger=ledger).next_trial() is not None


def test_an_interrupted_trial_finishes_after_the_budget_is_spent(tmp_path):
    ledger = new_ledger(tmp_path)
    runner = make(tmp_path, StudyBudget(epochs=3), ledger=ledger)
    trials = [runner.next_trial() for _ in range(3)]
    for trial in trials:
        assert trial is not None
        runner.on_report(trial, timed(1, 1.0))
    runner.on_report(trials[0], timed(2, 2.0, is_final=True))  # type: ignore[arg-type]
    runner.interrupt()
    resumed = make(tmp_path, StudyBudget(epochs=3), ledger=ledger)
    went_on = []
    while (trial := resumed.next_trial()) is not None:
        went_on.append(trial.number)
        resumed.on_report(trial, timed(3, 1.0, is_final=True))
    assert went_on == [1, 2]
    assert resumed.is_done


def test_the_budget_of_a_resolved_file():
    limits = {"wall": None, "epochs": 5, "device_hours": 0.5}
    assert StudyBudget.of({"budget": limits, "resources": {"cpu": 4, "gpu": 0}}) == StudyBudget(
        epochs=5, device_hours=0.5, devices=4.0
    )
    assert StudyBudget.of({"budget": {}, "resources": {"cpu": 4, "gpu": 0.5}}).devices == 0.5
    assert not StudyBudget.of({"budget": {"wall": "60s"}}).is_limited


def test_an_end_of_an_interrupted_attempt_counts_nothing(tmp_path):
    runner = make(tmp_path, StudyBudget(no_improvement=1))
    trial = started(runner)
    study = runner.studies[STUDY.name]
    study.end(trial.number, trial.attempt, Outcome(state=TrialState.INTERRUPTED))
    assert spending_of(runner).idle == 0


def test_an_attempt_of_no_seconds_counts_none_after_a_restart(tmp_path):
    budget, ledger = StudyBudget(device_hours=1.0), new_ledger(tmp_path)
    runner = make(tmp_path, budget, ledger=ledger)
    trial = started(runner)
    runner.on_report(trial, timed(1, 0.0))
    again = make(tmp_path, budget, ledger=ledger)
    assert spending_of(again).device_hours == 0.0
    assert again.next_trial() is not None


@pytest.mark.parametrize("epochs", [None, 12], ids=["no budget", "a spent budget"])
def test_a_spent_budget_makes_no_sweep_hopeless(tmp_path, epochs):
    made = plan(sampler(), num_trials=32, budget=StudyBudget(epochs=epochs))
    runner = SweepRunner([made], new_ledger(tmp_path))
    trials = [trial for _ in range(12) if (trial := runner.next_trial()) is not None]
    for trial in trials:
        runner.on_report(trial, timed(1, 1.0))
    assert spending_of(runner).reason == (epochs and "`budget.epochs: 12` is spent")
    for trial in trials[:6]:
        runner.on_failure(trial, f"trainables.errors.ConfigError: {trial.number}")
    assert runner.aborted is None
    runner.on_failure(trials[6], "trainables.errors.ConfigError: 6")
    assert runner.aborted is not None
    assert "7 of 32 trials failed" in runner.aborted


def trials_of(searched: str) -> list[Trial]:
    states = {"c": TrialState.COMPLETE, "p": TrialState.PAUSED, "r": TrialState.RUNNING}
    return [
        Trial(study="nft/t", number=number, kind=TrialKind.SAMPLED, params={}, seed=0,
              state=states[letter])
        for number, letter in enumerate(searched)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("searched", "is_early"),
    [
        ("c", False),  # the second leading trial is to come
        ("cc", True),
        ("ccr", True),
        ("cccr", False),
        ("cccc", False),
        ("ccpc", True),  # but for the budget the paused trial would be promoted
    ],
)
def test_a_search_ends_early_if_the_budget_takes_the_turn_of_a_trial(searched, *, is_early):
    spent, unspent = Spending(StudyBudget(epochs=0)), Spending(StudyBudget(epochs=1))
    reason = ended_early(trials_of(searched), 2, 4, spent)
    assert reason == ("`budget.epochs: 0` is spent" if is_early else None)
    assert ended_early(trials_of(searched), 2, 4, unspent) is None
