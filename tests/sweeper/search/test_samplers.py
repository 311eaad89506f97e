"""The built-in samplers: resumption, coverage, learning, conditions, and what they see."""

import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from scipy.stats import qmc

from sweeper.model import Params, TrialState
from sweeper.planning.samplers import SAMPLERS
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.search.samplers import (
    GaussianProcess,
    OnEvaluated,
    OnPart,
    best_and_latest,
    evaluated,
    informative,
    order_of,
    values_of,
)
from sweeper.search.spaces import distribution_of, from_unit, to_unit
from sweeper.spec.distributions import Choice, Float, Int
from sweeper.spec.samplers import (
    GP_ALL,
    GP_BEST,
    GP_LATEST,
    GP_RUNNING,
    GP_STARTS,
    TPE_ALL,
    TPE_BEST,
    TPE_LATEST,
    Space,
    grid,
)
from tests.support.searches import Ran, drawn, ran, restore, run_curve, search_of
from tests.support.trials import measured

NUMBERS = {
    "refine.lr": Float(low=1e-5, high=1e-1, log=True),
    "refine.beta": Float(low=0, high=1),
    "refine.layers": Int(low=1, high=9),
    "refine.drop": Float(low=0, high=0.5, step=0.25),
}
MIXED = {
    "align.kind": Choice(values=("otdd", "mmd", None)),
    **NUMBERS,
    "align.samples": Int(low=16, high=64, step=16, when={"align.kind": ("otdd",)}),
}
STEPPED = {
    "align.kind": Choice(values=("otdd", "mmd", None)),
    "refine.layers": Int(low=1, high=3),
    "refine.drop": Float(low=0, high=0.5, step=0.25),
    "align.samples": Int(low=16, high=64, step=16, when={"align.kind": ("otdd",)}),
}
BUILT_IN = tuple(SAMPLERS)
SLOW = {"gp": pytest.mark.slow, "auto": pytest.mark.slow}  # they fit Gaussian processes
needs_package = {"cmaes": "cmaes"}


def make(name: str, space: Space, *, seed: int = 0, prunes: bool = False) -> OptunaSampler:
    if name in needs_package:
        pytest.importorskip(needs_package[name])
    return search_of(space, name, "asha" if prunes else "none", least=2, seed=seed)


def level_of(params: Params) -> float:
    """The objective: 0 at the best configuration."""
    value = abs(math.log10(params.get("refine.lr", 1e-3)) + 3) / 4
    value += abs(params.get("refine.beta", 0.3) - 0.3)
    value += abs(params["refine.layers"] - 2) / 8
    return (
        value + params.get("refine.drop", 0.0) + 0.1 * (params.get("align.kind", "otdd") != "otdd")
    )


def run(it: OptunaSampler, number: int) -> Ran:
    """Run a trial whose curve falls to its objective, unless it is pruned."""
    params = it.ask(number)
    return run_curve(it, number, params, level_of(params))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "space", "prunes"),
    [
        pytest.param(
            name,
            space,
            prunes,
            id=f"{name}-{what}-{'pruned' if prunes else 'whole'}",
            marks=SLOW.get(name, ()),
        )
        for name in BUILT_IN
        for what, space in {"numbers": NUMBERS, "mixed": MIXED, "stepped": STEPPED}.items()
        for prunes in (False, True)
        if name != "grid" or space is STEPPED  # a grid has choices and steps alone
    ],
)
def test_a_restore_after_each_trial_changes_no_suggestion(name: str, space: Space, prunes: bool):
    whole = make(name, space, prunes=prunes)
    runs = [run(whole, number) for number in range(12)]
    for cut in range(1, 12):
        rebuilt = make(name, space, prunes=prunes)
        restore(rebuilt, runs[:cut])
        assert run(rebuilt, cut) == runs[cut]


def marked(*names: str) -> list[object]:
    return [pytest.param(name, marks=SLOW.get(name, ())) for name in names]


@pytest.mark.parametrize("name", marked(*(name for name in BUILT_IN if name != "grid")))
def test_trials_that_run_at_the_same_time_are_restored_with_what_was_asked(name: str):
    whole, rebuilt = make(name, NUMBERS), make(name, NUMBERS)
    runs = [run(whole, number) for number in range(9)]
    for number in range(9, 13):  # four workers, none of which has ended
        params = whole.ask(number)
        trial = drawn(number, params, TrialState.INTERRUPTED)
        runs.append(ran(whole, trial, ()))
    restore(rebuilt, runs)
    assert [whole.ask(number) for number in range(13, 17)] == [
        rebuilt.ask(number) for number in range(13, 17)
    ]


@pytest.mark.parametrize("name", marked("cqr", "gp", "cmaes", "nsga2", "tpe"))
def test_samplers_learn_although_most_trials_are_pruned(name: str):
    space = {k: v for k, v in NUMBERS.items() if k != "refine.drop"}

    def late(sampler: str, seed: int) -> float:
        it = make(sampler, space, seed=seed, prunes=True)
        levels = [level_of(run(it, number)[0].params) for number in range(30)]
        assert sum(t.state is optuna.trial.TrialState.PRUNED for t in it.study.trials) > 8
        return min(levels[10:])

    pairs = [(late(name, seed), late("random", seed)) for seed in range(3)]
    assert sum(learned for learned, _ in pairs) < sum(drawn for _, drawn in pairs)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_grid_is_tried_once_in_an_order_of_the_seed(seed: int):
    it, points = make("grid", STEPPED, seed=seed), grid(STEPPED)
    assert len(points) == 3 * 3 * 4 + 2 * 3 * 3  # samples exist with one kind alone
    drawn = [it.ask(number) for number in range(len(points))]
    assert Counter(str(sorted(p.items(), key=str)) for p in drawn) == Counter(
        str(sorted(p.items(), key=str)) for p in points
    )
    other = make("grid", STEPPED, seed=seed + 1)
    assert [other.ask(number) for number in range(len(points))] != drawn


def test_sobol_points_are_scipys_and_fill_each_half_evenly():
    it = make("qmc", {"a": Float(low=0, high=1), "b": Float(low=1, high=100, log=True)}, seed=7)
    drawn = np.array([list(it.ask(number).values()) for number in range(64)])
    units = np.stack([drawn[:, 0], np.log(drawn[:, 1]) / math.log(100)], axis=1)
    theirs = qmc.Sobol(2, scramble=True, seed=7).random(64)
    np.testing.assert_allclose(units, theirs, atol=1e-12)
    cells = Counter(map(tuple, (units * 8).astype(int).tolist()))
    assert set(cells.values()) == {1}  # a (0, 6, 2)-net has one point in each of 64 boxes


@pytest.mark.parametrize("space", [MIXED, STEPPED], ids=["mixed", "stepped"])
def test_a_coordinate_is_the_middle_of_those_of_its_value(space: Space):
    rng = random.Random(0)
    for parameter in space.values():
        for _ in range(50):
            value = from_unit(parameter, rng.random())
            assert parameter.contains(value)
            again = from_unit(parameter, to_unit(parameter, value))
            assert again == (pytest.approx(value) if isinstance(value, float) else value)
        assert parameter.contains(from_unit(parameter, 0.0))
        assert parameter.contains(from_unit(parameter, 1.0))


def test_all_steps_are_as_likely():
    parameter = Int(low=1, high=7, step=2)
    counts = Counter(from_unit(parameter, (k + 0.5) / 400) for k in range(400))
    assert counts == {1: 100, 3: 100, 5: 100, 7: 100}


def test_a_pruned_trial_is_seen_with_its_best_value():
    study = optuna.create_study()
    for number, state in enumerate((optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        for epoch, value in enumerate((3.0, 1.0, 2.0)):
            trial.report(value + number, epoch)
        study.tell(trial, state=state)
    study.tell(study.ask(), state=optuna.trial.TrialState.PRUNED)  # before any value
    study.tell(study.ask(), 0.5)
    assert [values_of(trial) for trial in evaluated(study)] == [[1.0], [0.5]]
    study.ask()
    seen = OnEvaluated(optuna.samplers.RandomSampler()).seen(study, study.trials[-1])
    assert [(t.value, t.state.name) for t in seen] == [
        (1.0, "COMPLETE"), (None, "FAIL"), (None, "PRUNED"), (0.5, "COMPLETE"), (None, "RUNNING"),
    ]  # fmt: skip


def complete(*values: float) -> list[optuna.trial.FrozenTrial]:
    x = {"x": optuna.distributions.FloatDistribution(0, 1)}
    return [
        optuna.trial.create_trial(value=value, params={"x": 0.5}, distributions=x)
        for value in values
    ]


def test_a_gaussian_process_is_fitted_to_the_best_and_the_latest_trials():
    values = [float((7 * k) % 1000) for k in range(1000)]
    x = {"x": optuna.distributions.FloatDistribution(0, 1)}
    running = [
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params={"x": k / 200}, distributions=x
        )
        for k in range(100)
    ]
    few = complete(*values[:GP_ALL])
    assert informative(few, running) == [*few, *running]
    seen = informative(complete(*values), running)
    chosen = [trial.value for trial in seen[:-GP_RUNNING]]
    assert chosen[-GP_LATEST:] == values[-GP_LATEST:]
    earlier = [value for value in chosen[:-GP_LATEST] if value is not None]
    assert sorted(earlier) == sorted(values[:-GP_LATEST])[:GP_BEST]
    assert chosen == [v for v in values if v in set(chosen)]  # in the order of the trials
    assert [t.params for t in seen[-GP_RUNNING:]] == [t.params for t in running[-GP_RUNNING:]]
    assert {t.value for t in seen[-GP_RUNNING:]} == {np.median(np.array(chosen, dtype=float))}


def large(size: int) -> optuna.Study:
    """Return a study of so many ended trials, of which every third is pruned, and one running."""
    rng, x = random.Random(0), {"x": optuna.distributions.FloatDistribution(0, 1)}
    study = optuna.create_study()
    for number in range(size):
        is_pruned = number % 3 == 0
        unit = rng.random()
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState[("COMPLETE", "PRUNED")[is_pruned]],
            value=None if is_pruned else (unit - 0.3) ** 2,
            intermediate_values={1 + number % 2: (unit - 0.3) ** 2},
            params={"x": unit},
            distributions=x,
        )
        study.add_trial(trial)
    study.ask(x)
    return study


@pytest.mark.slow
def test_tpe_sees_the_best_and_the_latest_trials_and_its_good_ones_are_those_of_the_whole_study():
    part = OnPart(optuna.samplers.TPESampler(seed=0))
    small, study = large(TPE_ALL), large(2 * TPE_ALL)
    assert part.seen(small, small.trials[-1]) == small.trials
    trials = part.seen(study, study.trials[-1])
    seen = [trial.number for trial in trials]
    assert seen[-1 - TPE_LATEST : -1] == list(range(2 * TPE_ALL - TPE_LATEST, 2 * TPE_ALL))
    assert seen[-1] == 2 * TPE_ALL  # which runs
    assert len(seen) == TPE_BEST + TPE_LATEST + 1

    def good(trials: Sequence[optuna.trial.FrozenTrial]) -> list[int]:
        values = sorted((t.value, t.number) for t in trials if t.value is not None)
        return [number for _, number in values[:25]]

    assert good(trials) == good(study.trials)


def ring(size: int) -> list[optuna.trial.FrozenTrial]:
    """Return trials with two objectives on arcs of 50, every fourth one breaks a constraint."""
    angles = np.random.default_rng(0).random(size) * np.pi / 2
    return [
        optuna.trial.create_trial(
            values=[10 - radius * np.cos(angle), 10 - radius * np.sin(angle)],
            constraints={"parameters <= 1": 1.0 + k if k % 4 == 0 else -1.0},
        )
        for k, angle in enumerate(angles)
        for radius in (1 + 5 / (1 + k // 50),)
    ]


@pytest.mark.slow
def test_the_best_of_several_objectives_are_the_first_fronts_of_feasible_trials():
    rng = random.Random(0)
    trials = ring(2200)
    rng.shuffle(trials)
    for k, trial in enumerate(trials):
        trial.number = k
    study = optuna.create_study(directions=["minimize"] * 2)
    study.add_trials(trials)
    study.ask()
    part = OnPart(optuna.samplers.TPESampler(seed=0))
    earlier = study.trials[:-1][:-TPE_LATEST]
    seen = part.seen(study, study.trials[-1])[: -1 - TPE_LATEST]
    assert len(seen) == TPE_BEST
    left = [trial for trial in earlier if trial.constraints["parameters <= 1"] < 0]
    expected: set[int] = set()
    while len(expected) < TPE_BEST:
        front = optuna.create_study(directions=["minimize"] * 2)
        front.add_trials(left)
        best = {left[trial.number].number for trial in front.best_trials}
        if len(expected) + len(best) > TPE_BEST:
            best = set(sorted(best)[len(expected) - TPE_BEST :])
        expected |= best
        left = [trial for trial in left if trial.number not in best]
    assert {trial.number for trial in seen} == expected
    # Both ends of the first front are seen, not that of the first objective alone.
    first, second = np.array([trial.values for trial in seen]).T
    assert first.argmin() != second.argmin()


@pytest.mark.parametrize("size", [100, 3000])
def test_infeasible_trials_come_by_their_violations_after_all_feasible_ones(size: int):
    trials = ring(size)
    seen = best_and_latest(trials, size * 4 // 5, 10, order=order_of)[:-10]
    broken = [t.constraints["parameters <= 1"] for t in seen if max(t.constraints.values()) > 0]
    lost = [t for t in trials[:-10] if all(t is not each for each in seen)]
    assert max(broken) < min(t.constraints["parameters <= 1"] for t in lost)


@pytest.mark.slow
def test_a_restore_of_a_large_study_changes_no_suggestion():
    rng, runs, space = random.Random(0), list[Ran](), {"x": Float(low=0, high=1)}
    whole, rebuilt = make("tpe", space), make("tpe", space)
    for number in range(TPE_ALL + 9):
        is_new = number > TPE_ALL
        params = whole.ask(number) if is_new else {"x": rng.random()}
        trial = drawn(number, params, value=params["x"])
        if is_new:
            whole.tell(trial)
        else:
            whole.restore(trial, ())
        runs.append(ran(whole, trial, ()))
    restore(rebuilt, runs)
    assert rebuilt.ask(TPE_ALL + 9) == whole.ask(TPE_ALL + 9)


def test_cmaes_draws_as_optunas_own_but_keeps_numbers_and_no_pickle():
    space = {name: Float(low=-5, high=5) for name in "abc"}
    it, plain = make("cmaes", space), optuna.create_study(study_name="0")
    for number in range(40):
        plain.sampler = optuna.samplers.CmaEsSampler(
            seed=1_000_003 * (number + 1), n_startup_trials=4, warn_independent_sampling=False
        )
        asked, params = plain.ask(), it.ask(number)
        assert params == {name: asked.suggest_float(name, -5, 5) for name in space}
        value = sum((x - 1) ** 2 for x in params.values())
        plain.tell(asked, value)
        it.tell(drawn(number, params, value=value))
    kept = [it.state(number).trial for number in range(40)]
    optimisers = [each["system"]["cma:optimizer"] for each in kept if "cma:optimizer" in str(each)]
    assert len(optimisers) == 5  # generations of seven after four trials
    assert all(len(each["_mean"]) == 3 for each in optimisers)
    assert [trial.params for trial in plain.trials] == [trial.params for trial in it.study.trials]


def test_nsga2_draws_as_optunas_own():
    it, plain = make("nsga2", MIXED), optuna.create_study(study_name="0")
    for number in range(30):
        plain.sampler = optuna.samplers.NSGAIISampler(
            population_size=4, seed=1_000_003 * (number + 1)
        )
        trial, _, _ = run(it, number)
        asked = plain.ask({name: distribution_of(MIXED[name]) for name in trial.sampled})
        assert asked.params == trial.params
        plain.tell(asked, trial.value)


def test_a_promoted_trial_stays_a_parent_while_it_runs():
    it = make("nsga2", NUMBERS)
    for number in range(9):
        params = it.ask(number)
        it.should_prune(number, measured(1, level_of(params)))
        it.pause(number)
    kept = it.state(8).study
    assert kept is not None
    for number in kept["system"]["NSGAIISampler:parent:2"]:
        it.resume(number)
    assert it.ask(9).keys() == NUMBERS.keys()
    assert it.state(9).study is None  # a generation has its parents for good


@pytest.mark.parametrize("name", marked("cqr", "gp", "cmaes", "nsga2", "qmc", "tpe", "auto"))
def test_what_a_shared_stage_gives_is_honoured(name: str):
    it = make(name, MIXED)
    for number in range(12):
        given = {"align.kind": "mmd"} if number % 2 else {"align.kind": "otdd", "align.samples": 32}
        params = it.ask(number, given)
        assert params.items() >= given.items()
        assert params.keys() == {*given, *NUMBERS}
        it.tell(drawn(number, params, value=level_of(params)))


@pytest.mark.slow
def test_auto_draws_as_the_sampler_that_it_chooses():
    for space, prunes, chosen in (
        (NUMBERS, False, "gp"), (NUMBERS, True, "tpe"), (MIXED, False, "tpe"),
    ):  # fmt: skip
        ours, theirs = (make(name, space, prunes=prunes) for name in ("auto", chosen))
        assert [run(ours, n) for n in range(8)] == [run(theirs, n) for n in range(8)]


def test_a_constant_lie_of_running_trials_has_constraints_like_the_ended_ones():
    def trial(number: int, state: optuna.trial.TrialState) -> optuna.trial.FrozenTrial:
        is_ended = state is optuna.trial.TrialState.COMPLETE
        return optuna.trial.create_trial(
            state=state,
            value=float(number) if is_ended else None,
            constraints={"parameters": number - 3.0} if is_ended else None,
        )

    ended = [trial(n, optuna.trial.TrialState.COMPLETE) for n in range(GP_ALL + 1)]
    running = [trial(0, optuna.trial.TrialState.RUNNING) for _ in range(2)]
    seen = informative(ended, running)
    real, lies = seen[:-2], seen[-2:]
    middle = np.median([each.value for each in real])
    assert {each.value for each in lies} == {middle}
    assert all(each.constraints == {"parameters": middle - 3} for each in lies)


def test_each_third_trial_is_drawn_at_random():
    it, at_random = make("cqr", NUMBERS), make("random", NUMBERS)
    same = [run(it, number)[0].params == at_random.ask(number) for number in range(18)]
    assert same == [number < 4 or number % 3 == 0 for number in range(18)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ended", "objectives", "starts"),
    [(GP_ALL, 1, 10), (GP_ALL + 1, 1, GP_STARTS), (GP_ALL, 2, 10), (GP_ALL + 1, 2, GP_STARTS // 2)],
)
def test_gp_climbs_from_few_points_in_a_large_study(ended, objectives, starts):
    startup = 100  # more than it sees of a large study
    sampler = GaussianProcess(seed=0, startup=startup)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for number in range(ended):
        x = number / ended
        values = [(x - 0.3 * (k + 1)) ** 2 for k in range(objectives)]
        study.add_trial(
            optuna.trial.create_trial(params={"x": x}, distributions=space, values=values)
        )
    assert 0 <= study.ask(space).params["x"] <= 1
    assert sampler.process._n_local_search == starts
    assert sampler.process._n_startup_trials == (startup if ended == GP_ALL else 1)
