"""Draws around priors: nearer with confidence, fewer with evidence, the same after a resume."""

import math
from statistics import fmean

import optuna
import pytest

from sweeper.search import factories
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.search.priors import GUIDED, centred_on, density, draw_around, shares_of, values_around
from sweeper.search.spaces import from_unit, to_unit
from sweeper.spec.distributions import HIGH, LOW, MEDIUM, Choice, Float, Int, Prior
from tests.support.searches import restore, run_curve, search_of

SPACE = {
    "refine.optimizer": Choice(values=("sgd", "adam", "adamw")),
    "refine.lr": Float(low=1e-5, high=1e-1, log=True),
    "refine.classes": Int(low=2, high=10, step=2),
    "refine.beta": Float(low=0.0, high=1.0, when={"refine.optimizer": ("adam", "adamw")}),
}
DEFAULTS = {"refine.optimizer": "adam", "refine.lr": 1e-2, "refine.classes": 8, "refine.beta": 0.9}


def priors(confidence: str = MEDIUM) -> dict[str, Prior]:
    return {name: Prior(default=v, confidence=confidence) for name, v in DEFAULTS.items()}


def sampler(*, draw=factories.tpe, known=None, startup: int = 4, seed: int = 0) -> OptunaSampler:
    centres = (priors(),) if known is None else known
    options = {"seed": seed, "startup_trials": startup, "centres": centres}
    return search_of(SPACE, draw, "asha", least=2, **options)


def run_trial(it: OptunaSampler, number: int, best: float = 1e-2):
    """Run trial `number` on a deterministic curve; rates near `best` are good."""
    params = it.ask(number)
    level = abs(math.log10(params["refine.lr"] / best)) + (params["refine.optimizer"] != "adam")
    return run_curve(it, number, params, level)


def around(centre, count: int = 200):
    return [draw_around(centre, SPACE, seed=seed) for seed in range(count)]


def test_more_confidence_draws_nearer_and_every_draw_is_in_range() -> None:
    far = {}
    for confidence in (LOW, MEDIUM, HIGH):
        drawn = around(priors(confidence))
        assert all(SPACE[name].contains(v) for params in drawn for name, v in params.items())
        far[confidence] = [
            fmean(abs(to_unit(SPACE[n], p[n]) - to_unit(SPACE[n], DEFAULTS[n])) for p in drawn)
            for n in SPACE
        ]
    assert all(a > b > c for a, b, c in zip(far[LOW], far[MEDIUM], far[HIGH], strict=True))


@pytest.mark.parametrize("confidence", [LOW, MEDIUM, HIGH])
@pytest.mark.parametrize("name", SPACE)
def test_a_density_is_one_on_average_over_random_draws(name: str, confidence: str) -> None:
    centre, count = {name: priors(confidence)[name]}, 3000
    values = (from_unit(SPACE[name], (k + 0.5) / count) for k in range(count))
    mean = fmean(density(centre, SPACE, {name: value}) for value in values)
    assert mean == pytest.approx(1, rel=0.06)  # steps are wide


def test_a_parameter_without_a_prior_is_left_to_chance() -> None:
    known = {"refine.lr": Prior(default=1e-2, confidence=HIGH)}
    drawn = [sampler(known=(known,), seed=seed).ask(0) for seed in range(60)]
    assert {params["refine.optimizer"] for params in drawn} == {"sgd", "adam", "adamw"}


@pytest.mark.slow
def test_half_of_the_first_draws_are_around_the_priors() -> None:
    plain = [sampler(known=(), seed=seed).ask(0) for seed in range(200)]
    guided = [sampler(seed=seed).ask(0) for seed in range(200)]
    same = sum(a == b for a, b in zip(plain, guided, strict=True))
    assert 80 <= same <= 120


def shares(near: bool, count: int, startup: int = 4):
    """Return the shares after trials whose best ones are at the default, or far from it."""
    lr = {True: 1e-2, False: 2e-5}[near]
    ranked = [{"refine.optimizer": "adam", "refine.lr": lr * (1 + k / count), "refine.classes": 8,
               "refine.beta": 0.9} for k in range(count)]  # fmt: skip
    return shares_of([priors()], centred_on(ranked[0], priors(), SPACE), SPACE, ranked,
                     startup=startup)  # fmt: skip


def test_the_shares_fade_as_trials_end() -> None:
    assert shares_of([priors()], {}, SPACE, [], startup=4) == [GUIDED, 0]
    found = [shares(True, count) for count in (4, 8, 40, 400)]
    totals = [sum(each) for each in found]
    assert totals == pytest.approx([GUIDED, GUIDED / 2, GUIDED / 10, GUIDED / 100])
    alone = [of_prior for of_prior, _ in found]
    assert alone == sorted(alone, reverse=True)


def test_a_misleading_prior_gives_way_to_the_best_trial_and_a_good_one_does_not() -> None:
    good, bad = shares(True, 4), shares(False, 4)
    assert good[0] == pytest.approx(good[1], rel=0.1)
    assert bad[0] < bad[1] / 20


def test_of_several_centres_the_one_near_the_best_trials_has_the_largest_share() -> None:
    ranked = [{"refine.lr": 2e-5}, {"refine.lr": 3e-5}, {"refine.lr": 1e-2}]
    far, near = ({"refine.lr": Prior(default=lr)} for lr in (5e-2, 2.5e-5))
    first = shares_of([far, near], {}, SPACE, [], startup=4)
    assert first == [GUIDED / 2, GUIDED / 2, 0]
    best = centred_on(ranked[0], {}, SPACE)
    later = shares_of([far, near], best, SPACE, ranked, startup=4)
    assert later[1] == pytest.approx(later[2], rel=0.1)
    assert later[0] < later[1] / 20


def test_with_several_objectives_the_latest_trial_of_the_front_counts_as_the_best() -> None:
    study = optuna.create_study(directions=["minimize"] * 2)
    lr = {"refine.lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)}
    for rate, values in ((1e-4, (0, 9)), (1e-5, (9, 9)), (2e-5, (8, 10)), (1e-2, (1, 1))):
        study.add_trial(
            optuna.trial.create_trial(
                params={"refine.lr": rate}, distributions=lr, values=[float(v) for v in values]
            )
        )
    misleading = {"refine.lr": Prior(default=1e-5, confidence=HIGH)}
    draws = [values_around([misleading], SPACE, study, seed=k, startup=4) for k in range(400)]
    drawn = [params["refine.lr"] for params in draws if params]
    assert 0.4 < len(drawn) / 400 < 0.6
    assert 3e-3 < sorted(drawn)[len(drawn) // 2] < 3e-2


def test_draws_around_the_best_trial_take_its_values_and_the_widths_of_the_priors() -> None:
    best = {"refine.lr": 3e-5, "refine.optimizer": "sgd"}
    centre = centred_on(best, priors(HIGH), SPACE)
    assert centre == {n: Prior(default=value, confidence=HIGH) for n, value in best.items()}
    assert centred_on(best, {}, SPACE)["refine.lr"].confidence == MEDIUM


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [factories.tpe, factories.random, factories.gp, factories.cmaes, factories.qmc,
     factories.nsga2, factories.auto],
)  # fmt: skip
def test_a_rebuilt_study_draws_as_an_uninterrupted_one(draw) -> None:
    whole = sampler(draw=draw)
    runs = [run_trial(whole, number, best=3e-5) for number in range(12)]
    plain = sampler(draw=draw, known=())
    assert [run_trial(plain, n, best=3e-5)[0].params for n in range(12)] != [
        each.trial.params for each in runs
    ]
    for cut in (1, 7):
        rebuilt = sampler(draw=draw)
        restore(rebuilt, runs[:cut])
        assert [run_trial(rebuilt, n, best=3e-5) for n in range(cut, 12)] == runs[cut:]


def test_given_values_stay_as_they_are() -> None:
    given = {"refine.optimizer": "sgd", "refine.lr": 1e-5}
    for seed in range(10):
        params = sampler(seed=seed).ask(0, given)
        assert {**params, **given} == params
        assert "refine.beta" not in params


@pytest.mark.slow
def test_a_good_prior_finds_good_values_sooner() -> None:
    def best_of(known, seed: int) -> float:
        it = sampler(known=known, seed=seed)
        return min(run_trial(it, number)[0].value for number in range(6))

    seeds = range(20)
    pairs = [(best_of((priors(HIGH),), seed), best_of((), seed)) for seed in seeds]
    assert fmean(a for a, _ in pairs) < fmean(b for _, b in pairs)


def test_without_centres_the_sampler_alone_draws() -> None:
    it, space = sampler(known=(), draw=factories.random, seed=3), SPACE["refine.lr"]
    for number in range(3):
        seed = 3 + 1_000_003 * (number + 1)
        plain = optuna.samplers.RandomSampler(seed=seed)
        trial = optuna.create_study(sampler=plain).ask()
        trial.suggest_categorical("refine.optimizer", SPACE["refine.optimizer"].values)
        assert it.ask(number)["refine.lr"] == trial.suggest_float(
            "refine.lr", space.low, space.high, log=True
        )
