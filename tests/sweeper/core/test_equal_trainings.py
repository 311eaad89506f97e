"""Trials that are one training: trained once, and shown in each study with equal numbers."""

from dataclasses import replace

import pytest

from sweeper.core.equal_trainings import EqualTrainings, Training
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.model import Trial, TrialKind, TrialState
from tests.support.fakes import STUDY, FixedSampler, curve, new_ledger, plan, run_in_slots, started

STAGES = {"orca": "refine", "pare": "replace"}
LEADING = [(TrialKind.PRESET, {"lr": 1.0}), (TrialKind.CONTROL, {"lr": 2.0})]
OURS, THEIRS = "orca/t", "pare/t"


def sweep(folder, *, seeds: tuple[int, ...] = ()) -> SweepRunner:
    """Return the runner of two methods whose controls are one training, and their presets not."""

    def training(trial: Trial) -> Training | None:
        if trial.kind is TrialKind.SAMPLED:
            return None
        method = trial.study.partition("/")[0]
        of = "vanilla" if trial.params["lr"] == 2.0 else method
        return Training(key=f"{of} {trial.seed}", stage=STAGES[method])

    plans = [
        plan(
            FixedSampler([{"lr": 3.0}]),
            num_trials=3,
            study=replace(STUDY, name=f"{method}/t", method=method),
            leading=LEADING,
            training=training,
            replication=Replication(top=1, seeds=seeds) if seeds else None,
        )
        for method in STAGES
    ]
    return SweepRunner(plans, new_ledger(folder))


def values_of(trial: Trial) -> list[float]:
    return [0.9, 0.4 + trial.params["lr"] / 100]


def trained(runner: SweepRunner, *, slots: int = 2) -> list[tuple[str, int]]:
    """Run all trials, and return those that trained, in the order of their starts."""
    steps = run_in_slots(runner, values_of, slots)
    return [(trial.study, trial.number) for trial, measurement, _ in steps if measurement is None]


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_one_of_equal_trials_trains_and_the_others_have_its_numbers(tmp_path, slots):
    runner = sweep(tmp_path, seeds=(7, 8))
    started = trained(runner, slots=slots)
    assert runner.is_done
    # 2 presets, 2 sampled ones, 2 x 2 replicates of the best, and 1 + 2 controls.
    assert len(started) == len(set(started)) == 2 + 2 + 4 + 3
    both = [
        sorted(
            (t for t in runner.studies[name].trials.values() if t.params["lr"] == 2.0),
            key=lambda t: t.seed,
        )
        for name in (OURS, THEIRS)
    ]
    assert len(both[0]) == 3
    ledger = new_ledger(tmp_path)
    for one, two in zip(*both, strict=True):
        assert (one.seed, one.value, one.test, one.best_epoch, one.state, one.attempt) == (
            two.seed, two.value, two.test, two.best_epoch, two.state, two.attempt,
        )  # fmt: skip
        mine, other = (ledger.measurements(t.study, t.number) for t in (one, two))
        assert [m.objective for m in mine] == [m.objective for m in other]
        builder = {m.computed_by for m in (*mine, *other)} - {None}
        assert len(builder) == 1
        assert sum(m.computed_by is None for m in (*mine, *other)) == 2
    assert ledger.trials() == runner.trials


def test_names_of_the_taken_over_epochs_are_those_of_the_study(tmp_path):
    runner = sweep(tmp_path)
    trial = next(t for t in iter(runner.next_trial, None) if t.kind is TrialKind.CONTROL)
    for each in curve(values_of(trial)):
        loss = {f"{STAGES[trial.study[:4]]}/train_loss": 1.0}
        now = replace(each, stage=STAGES[trial.study[:4]], metrics={**each.metrics, **loss})
        runner.on_report(trial, replace(now, seconds=3.0, checkpoint="c"))
    trained(runner)
    other = next(name for name in (OURS, THEIRS) if name != trial.study)
    taken = new_ledger(tmp_path).measurements(other, 1)
    stage = STAGES[other.partition("/")[0]]
    assert [m.stage for m in taken] == [stage] * 2
    assert taken[0].metrics == {"val/nrmse": 0.9, f"{stage}/train_loss": 1.0}
    assert {(m.seconds, m.checkpoint, m.computed_by) for m in taken} == {
        (0.0, None, f"s/{trial.study}/1")
    }


def test_an_equal_trial_starts_nothing_while_the_first_runs_and_trains_if_it_fails(tmp_path):
    runner = sweep(tmp_path)
    running = [trial for trial in iter(runner.next_trial, None) if trial is not None]
    controls = [trial for trial in running if trial.kind is TrialKind.CONTROL]
    assert len(controls) == 1
    assert {t.kind for t in running} == {"preset", "control", "sampled"}
    runner.on_failure(controls[0], "trainables.errors.ConfigError: no such thing")
    now = started(runner)
    assert (now.kind, now.study) != (TrialKind.CONTROL, controls[0].study)
    assert now.kind is TrialKind.CONTROL


def test_a_resumed_sweep_takes_over_what_the_former_driver_trained(tmp_path):
    first = sweep(tmp_path)
    control = next(t for t in iter(first.next_trial, None) if t.kind is TrialKind.CONTROL)
    for each in curve(values_of(control)):
        first.on_report(control, each)
    resumed = sweep(tmp_path)
    started = trained(resumed)
    assert resumed.is_done
    assert all(resumed.studies[name].trials[1].state is TrialState.COMPLETE
               for name in (OURS, THEIRS))  # fmt: skip
    assert (OURS, 1) not in started
    assert (THEIRS, 1) not in started


@pytest.mark.parametrize("dies", [False, True])
def test_a_trial_that_has_begun_goes_on_itself_after_its_node_or_driver_died(tmp_path, dies):
    runner = sweep(tmp_path)
    control = next(t for t in iter(runner.next_trial, None) if t.kind is TrialKind.CONTROL)
    first, *_ = curve(values_of(control))
    runner.on_report(control, first)
    if dies:
        runner = sweep(tmp_path)
    else:
        for trial in runner.trials:
            if trial.state is TrialState.RUNNING:
                runner.on_failure(trial, "Its node has died")
    started = trained(runner)
    assert runner.is_done
    assert (control.study, 1) in started
    other = next(name for name in (OURS, THEIRS) if name != control.study)
    assert (other, 1) not in started
    ledger = new_ledger(tmp_path)
    assert {m.computed_by for m in ledger.measurements(control.study, 1)} == {None}
    assert {m.computed_by for m in ledger.measurements(other, 1)} == {f"s/{control.study}/1"}


def test_a_candidate_trains_for_itself(tmp_path):
    assert EqualTrainings().complete(CANDIDATE, ANY) is None
    equal = EqualTrainings()
    equal.follow(replace(CANDIDATE, number=1, kind=TrialKind.CONTROL, attempt=1), ANY)
    assert not equal.has_begun(CANDIDATE, ANY)
    assert equal.has_begun(replace(CANDIDATE, kind=TrialKind.CONTROL), ANY)
    assert not equal.has_begun(replace(CANDIDATE, kind=TrialKind.CONTROL, attempt=1), ANY)


CANDIDATE = Trial(study="nft/t", number=0, kind=TrialKind.PRESET, params={}, seed=0)
ANY = Training(key="vanilla", stage="refine")
