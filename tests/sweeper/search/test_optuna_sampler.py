"""Optuna behind our protocol: conditions, pruning, seeds, and a rebuild that forgets nothing."""

import math
import random
from dataclasses import replace
from statistics import fmean

import optuna
import pytest

from sweeper.errors import SweeperError
from sweeper.model import TrialState
from sweeper.search import factories
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.spec.distributions import Choice, Float, Int
from tests.example_plugin.example_plugin import search
from tests.support.searches import Ran, drawn, ran, restore, run_curve, search_of
from tests.support.trials import measured

SPACE = {
    "align.distance": Choice(values=("otdd", "mmd", "none")),
    "refine.lr": Float(low=1e-5, high=1e-1, log=True),
    "align.samples": Int(low=16, high=64, step=16, when={"align.distance": ("otdd",)}),
}


def sampler(
    *, draw=factories.tpe, prune=factories.asha, seed: int = 0, startup: int = 4
) -> OptunaSampler:
    return search_of(SPACE, draw, prune, least=2, seed=seed, startup_trials=startup)


def run_trial(it: OptunaSampler, number: int) -> Ran:
    """Run trial `number` on a deterministic curve that depends on its parameters."""
    params = it.ask(number)
    level = abs(math.log10(params["refine.lr"]) + 3) + (params["align.distance"] != "otdd")
    return run_curve(it, number, params, level, fixed={"refine.epochs": 8})


def test_a_conditional_parameter_is_drawn_exactly_when_its_condition_holds():
    it = sampler()
    for number in range(20):
        params = it.ask(number)
        assert ("align.samples" in params) == (params["align.distance"] == "otdd")
        assert all(SPACE[name].contains(value) for name, value in params.items())


def test_pruned_trials_are_told_as_pruned_with_their_intermediate_values():
    it = sampler()
    runs = [run_trial(it, number) for number in range(12)]
    told = it.study.get_trials()
    states = {each.trial.state for each in runs}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for (trial, history, _), frozen in zip(runs, told, strict=True):
        assert frozen.state.name == trial.state.name
        assert frozen.intermediate_values == {m.epoch: m.objective for m in history}
    assert all(t.state != optuna.trial.TrialState.RUNNING for t in told)


def test_the_same_seed_gives_the_same_suggestions_and_another_seed_others():
    first, same, other = (
        [run_trial(it, n).trial.params for it in [sampler(seed=k)] for n in range(8)]
        for k in (3, 3, 4)
    )
    assert first == same
    assert first != other


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "prune"),
    [
        (factories.tpe, factories.asha),
        (factories.tpe, factories.median),
        (factories.tpe, factories.none),
        (factories.cmaes, factories.asha),
        (factories.qmc, factories.asha),
        (factories.nsga2, factories.median),
        (search.independent, search.quartile),  # of a plugin
    ],
)
@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_rebuilt_study_suggests_and_judges_as_an_uninterrupted_one(draw, prune, cut):
    whole = sampler(draw=draw, prune=prune)
    runs = [run_trial(whole, number) for number in range(14)]
    pruned = any(each.trial.state is TrialState.PRUNED for each in runs)
    assert pruned == (prune is not factories.none)

    rebuilt = sampler(draw=draw, prune=prune)
    restore(rebuilt, runs[:cut])
    assert [run_trial(rebuilt, n) for n in range(cut, 14)] == runs[cut:]


def test_a_running_trial_is_taken_up_where_it_was():
    whole, rebuilt = sampler(), sampler()
    restore(rebuilt, [run_trial(whole, number) for number in range(4)])
    params = whole.ask(4)
    trial = drawn(4, params, TrialState.INTERRUPTED)
    history = (measured(1, 9.0),)
    assert not whole.should_prune(4, history[0])
    rebuilt.restore(trial, history)
    assert not rebuilt.should_prune(4, history[0])  # run again by the new attempt: not judged twice
    assert rebuilt.should_prune(4, measured(2, 9.0)) == whole.should_prune(4, measured(2, 9.0))
    rebuilt.tell(replace(trial, state=TrialState.FAILED))
    assert rebuilt.study.get_trials()[4].state == optuna.trial.TrialState.FAIL


@pytest.mark.parametrize(
    "draw", [factories.tpe, factories.random, factories.cmaes, factories.nsga2, search.independent]
)
def test_a_study_with_paused_trials_is_rebuilt_as_it_was(draw):
    """Trials 4 and 5 pause, and 5 goes on; what comes next depends on none of the two runs."""
    whole, rebuilt = (sampler(draw=draw, prune=factories.promote) for _ in range(2))
    runs = [run_trial(whole, number) for number in range(4)]
    for number, state in (4, TrialState.PAUSED), (5, TrialState.RUNNING):
        params, history = whole.ask(number), (measured(1, 0.1), measured(2, 0.2))
        assert not any(whole.should_prune(number, each) for each in history)
        whole.pause(number)
        if state is TrialState.RUNNING:
            whole.resume(number)
        runs.append(ran(whole, drawn(number, params, state), history))
    restore(rebuilt, runs)
    states = [trial.state.name for trial in whole.study.get_trials()]
    assert states == ["COMPLETE"] * 4 + ["PRUNED", "RUNNING"]
    assert states == [trial.state.name for trial in rebuilt.study.get_trials()]
    assert [whole.ask(number) for number in range(6, 12)] == [
        rebuilt.ask(number) for number in range(6, 12)
    ]


def test_a_promoted_trial_reports_on_and_is_complete_with_its_best_value():
    it = sampler(prune=factories.promote)
    params = it.ask(0)
    assert not it.should_prune(0, measured(2, 0.5))
    it.pause(0)
    it.resume(0)
    assert not it.should_prune(0, measured(3, 0.4))
    it.tell(drawn(0, params, value=0.4))
    (told,) = it.study.get_trials()
    assert (told.state.name, told.value) == ("COMPLETE", 0.4)
    assert told.intermediate_values == {2: 0.5, 3: 0.4}


@pytest.mark.slow
def test_tpe_learns_from_paused_trials_and_not_from_running_ones():
    """It suggests learning rates near those of the best paused trials."""

    def distance(seed: int, *, pauses: bool) -> float:
        it = sampler(prune=factories.promote, startup=1, seed=seed)
        for number in range(20):
            level = abs(math.log10(it.ask(number)["refine.lr"]) + 3)
            it.should_prune(number, measured(2, level))
            if pauses:
                it.pause(number)
        return abs(math.log10(it.ask(20)["refine.lr"]) + 3)

    near, far = (fmean(distance(s, pauses=p) for s in range(12)) for p in (True, False))
    assert near < 0.6 * far


@pytest.mark.slow
@pytest.mark.parametrize("draw", [factories.tpe, factories.random, search.independent])
def test_what_is_given_is_honoured_and_decides_conditions(draw):
    pruner = factories.none(min_epochs=1, eta=2)
    it, twin = (
        OptunaSampler(SPACE, sampler=draw, pruner=pruner, seed=0, startup_trials=4)
        for _ in range(2)
    )
    prefixes = [
        {"align.distance": "otdd", "align.samples": 48},
        {"align.distance": "mmd"},
        {"align.distance": "none"},
    ]
    rates = set()
    for number in range(40):  # most of them drawn by TPE, in groups of which a part is given
        given = prefixes[number % 3]
        params = it.ask(number, given)
        assert params.items() >= given.items()
        assert params.keys() == {*given, "refine.lr"}
        rates.add(params["refine.lr"])
        trial = drawn(number, params, value=abs(math.log10(params["refine.lr"]) + 3))
        it.tell(trial)
        restore(twin, [ran(it, trial, ())])  # a resumed sweep goes on as this one
        assert twin.ask(number + 1, given) == it.ask(number + 1, given)
    assert len(rates) == 40


def test_conditional_parameters_of_later_stages_are_drawn_beside_what_is_given():
    space = {**SPACE, "refine.beta": Float(low=0, high=1, when={"align.distance": ("mmd",)})}
    it = search_of(space)
    for number in range(30):
        given = {"align.distance": "mmd" if number % 2 else "none"}
        params = it.ask(number, given)
        assert ("refine.beta" in params) == (given["align.distance"] == "mmd")
        it.tell(drawn(number, params, value=params["refine.lr"]))


def late_values(draw: factories.SamplerFactory, seed: int) -> float:
    """The mean objective of the last trials of a search whose first stage is given."""
    space = {
        "align.lr": Float(low=0, high=1),
        "align.kind": Choice(values=("a", "b")),
        "refine.lr": Float(low=1e-6, high=1.0, log=True),
        "refine.decay": Float(low=0, high=1),
        "refine.beta": Float(low=0, high=1, when={"align.kind": ("a",)}),
    }
    it = search_of(space, draw, seed=seed, startup_trials=8)
    rng = random.Random(seed)
    prefixes = [{"align.lr": rng.random(), "align.kind": "ab"[k % 2]} for k in range(4)]
    values = []
    for number in range(40):
        params = it.ask(number, prefixes[number % 4])
        values.append(
            0.3 * params["align.lr"]
            + abs(math.log10(params["refine.lr"]) + 3) / 3
            + abs(params["refine.decay"] - 0.2)
            + abs(params.get("refine.beta", 0.5) - 0.5)
        )
        it.tell(drawn(number, params, value=values[-1]))
    return sum(values[-20:]) / 20


@pytest.mark.slow
def test_with_a_given_first_stage_the_sampler_still_learns_the_later_one():
    pairs = [
        (late_values(factories.tpe, seed), late_values(factories.random, seed))
        for seed in range(12)
    ]
    assert sum(tpe < drawn for tpe, drawn in pairs) >= 11
    assert sum(tpe for tpe, _ in pairs) < 0.8 * sum(drawn for _, drawn in pairs)


class Careless(optuna.samplers.RandomSampler):
    """A sampler that draws 7 for whatever it is asked."""

    def sample_independent(self, study, trial, param_name, param_distribution):
        return 7.0


@pytest.mark.parametrize(
    ("draw", "fault"),
    [
        (lambda **_: Careless(), r"ValueError: refine.lr: 7.0 is outside of its range"),
        (lambda **_: 1 / 0, r"ZeroDivisionError: division by zero\. Correct it"),
    ],
)
def test_a_fault_of_a_sampler_is_one_error_after_its_traceback(draw, fault, capsys):
    space = {"refine.lr": Float(low=0, high=1)}
    it = search_of(space, draw)
    with pytest.raises(SweeperError, match=rf"the sampler of trial 3 failed: {fault}"):
        it.ask(3)
    assert "Traceback" in capsys.readouterr().err


def test_without_goals_the_draws_are_those_of_plain_optuna():
    """Other objectives and constraints must not change what files without them draw."""
    it = sampler(prune=factories.none)
    plain = optuna.create_study(direction="minimize", study_name="0")
    for number in range(12):
        with factories.experimental():
            plain.sampler = optuna.samplers.TPESampler(
                seed=1_000_003 * (number + 1), n_startup_trials=4, multivariate=True, group=True
            )
        asked, trial = plain.ask(), run_trial(it, number).trial
        params = {
            "align.distance": asked.suggest_categorical("align.distance", ("otdd", "mmd", "none")),
            "refine.lr": asked.suggest_float("refine.lr", 1e-5, 1e-1, log=True),
        }
        if params["align.distance"] == "otdd":
            params["align.samples"] = asked.suggest_int("align.samples", 16, 64, step=16)
        assert {name: trial.params[name] for name in trial.sampled} == params
        plain.tell(asked, trial.value)


@pytest.mark.parametrize("min_epochs", [1, 2, 4])
def test_the_median_prunes_a_poor_trial_once_it_has_its_fewest_epochs_and_not_before(min_epochs):
    study = optuna.create_study(pruner=factories.median(min_epochs=min_epochs, eta=2))
    for _ in range(4):
        good = study.ask()
        for epoch in range(1, 6):
            good.report(0.1, epoch)
        study.tell(good, 0.1)
    poor, pruned = study.ask(), []
    for epoch in range(1, 6):
        poor.report(9.0, epoch)
        if poor.should_prune():
            pruned.append(epoch)
    assert pruned[0] == min_epochs
