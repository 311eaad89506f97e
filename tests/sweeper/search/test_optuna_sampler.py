"""Optuna behind our protocol: conditions, pruning, seeds, and a rebuild that forgets nothing."""

import math
import random

import optuna
import pytest

from sweeper.search.optuna_sampler import OptunaSampler, make_pruner, rungs
from sweeper.space.distributions import Choice, Float, Int
from sweeper.study import Measurement, Trial, TrialKind, TrialState

SPACE = {
    "align.distance": Choice(values=("otdd", "mmd", "none")),
    "refine.lr": Float(low=1e-5, high=1e-1, log=True),
    "align.samples": Int(low=16, high=64, step=16, when={"align.distance": ("otdd",)}),
}


def sampler(*, pruning: str = "asha", seed: int = 0, startup: int = 4) -> OptunaSampler:
    pruner = make_pruner(pruning, min_epochs=2, eta=2)
    return OptunaSampler(SPACE, sampler="tpe", pruner=pruner, seed=seed, startup_trials=startup)


def measured(epoch: int, value: float) -> Measurement:
    return Measurement(stage="refine", epoch=epoch, num_epochs=8, metrics={}, objective=value)


def run_trial(it: OptunaSampler, number: int) -> tuple[Trial, tuple[Measurement, ...]]:
    """Runs trial `number` on a deterministic curve that depends on its parameters."""
    params = it.ask(number)
    level = abs(math.log10(params["refine.lr"]) + 3) + (params["align.distance"] != "otdd")
    history: list[Measurement] = []
    state = TrialState.COMPLETE
    for epoch in range(1, 9):
        history.append(measured(epoch, level + 1 / epoch))
        if it.should_prune(number, history[-1]) and epoch < 8:
            state = TrialState.PRUNED
            break
    trial = Trial(
        study="s", number=number, kind=TrialKind.SAMPLED, params={**params, "refine.epochs": 8},
        sampled=tuple(params), seed=0, state=state,
        value=min(m.objective for m in history if m.objective is not None),
    )  # fmt: skip
    it.tell(trial)
    return trial, tuple(history)


def test_a_conditional_parameter_is_drawn_exactly_when_its_condition_holds():
    it = sampler()
    for number in range(20):
        params = it.ask(number)
        assert ("align.samples" in params) == (params["align.distance"] == "otdd")
        assert all(SPACE[name].contains(value) for name, value in params.items())


def test_pruned_trials_are_told_as_pruned_with_their_intermediate_values():
    it = sampler()
    runs = [run_trial(it, number) for number in range(12)]
    told = it._study.get_trials()
    states = {t.state for t, _ in runs}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for (trial, history), frozen in zip(runs, told, strict=True):
        assert frozen.state.name == trial.state.name
        assert frozen.intermediate_values == {m.epoch: m.objective for m in history}
    assert all(t.state != optuna.trial.TrialState.RUNNING for t in told)


def test_the_same_seed_gives_the_same_suggestions_and_another_seed_others():
    first, same, other = ([run_trial(s, n)[0].params for s in [sampler(seed=k)] for n in range(8)]
                          for k in (3, 3, 4))  # fmt: skip
    assert first == same
    assert first != other


@pytest.mark.parametrize("pruning", ["asha", "median", "none"])
@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_rebuilt_study_suggests_and_judges_as_an_uninterrupted_one(pruning, cut):
    whole = sampler(pruning=pruning)
    runs = [run_trial(whole, number) for number in range(14)]

    rebuilt = sampler(pruning=pruning)
    for trial, history in runs[:cut]:
        rebuilt.restore(trial, history)
    assert [run_trial(rebuilt, n) for n in range(cut, 14)] == runs[cut:]


def test_a_running_trial_is_taken_up_where_it_was():
    whole, rebuilt = sampler(), sampler()
    for number in range(4):
        rebuilt.restore(*run_trial(whole, number))
    params = whole.ask(4)
    trial = Trial(study="s", number=4, kind=TrialKind.SAMPLED, params=params,
                  sampled=tuple(params), seed=0, state=TrialState.INTERRUPTED)  # fmt: skip
    history = (measured(1, 9.0),)
    assert not whole.should_prune(4, history[0])
    rebuilt.restore(trial, history)
    assert not rebuilt.should_prune(4, history[0])  # run again by the new attempt: not judged twice
    assert rebuilt.should_prune(4, measured(2, 9.0)) == whole.should_prune(4, measured(2, 9.0))
    rebuilt.tell(Trial(**{**vars(trial), "state": TrialState.FAILED}))
    assert rebuilt._study.get_trials()[4].state == optuna.trial.TrialState.FAIL


def test_rungs_are_those_that_optuna_itself_leaves():
    pruner = make_pruner("asha", min_epochs=2, eta=3)
    study = optuna.create_study(pruner=pruner)
    rng = random.Random(0)
    for _ in range(9):
        trial = study.ask()
        for epoch in range(1, 20):
            trial.report(rng.random(), epoch)
            if trial.should_prune():
                break
        frozen = study.get_trials()[-1]
        assert rungs(pruner, frozen.intermediate_values) == frozen.system_attrs
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
