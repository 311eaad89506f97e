"""Conformal quantile regression: coverage, what it learns from, and how it draws."""

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState as State
from scipy.stats import norm

from sweeper.model import Params
from sweeper.search import factories
from sweeper.search.conformal import (
    INACTIVE,
    LEVELS,
    MIN_HELD_OUT,
    features,
    learned_from,
    quantiles,
    scores,
)
from sweeper.spec.distributions import Choice, Float, Int
from sweeper.spec.goals import Goals, read_constraint
from sweeper.spec.samplers import CQR_ALL, CQR_BEST, CQR_LATEST, Space
from tests.support.searches import drawn, run_curve, search_of

LINE: Space = {"x": Float(low=0, high=1), "y": Float(low=0, high=1)}
KINDS: Space = {
    "kind": Choice(values=("a", "b", None)),
    "rate": Float(low=1e-4, high=1, log=True, when={"kind": ("a",)}),
    "size": Choice(values=(1, 2, 8)),
    "layers": Int(low=1, high=5, when={"size": (2, 8)}),
}
STARTUP = 8


def make(space: Space, *, seed: int = 0, goals: Goals | None = None, prunes=False):
    options = {"seed": seed, "startup_trials": STARTUP, **({"goals": goals} if goals else {})}
    return search_of(space, factories.cqr, "asha" if prunes else "none", least=2, **options)


def bowl(params: Params) -> float:
    return (params["x"] - 0.3) ** 2 + (params["y"] - 0.8) ** 2


def noisy(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return points of a line whose noise grows with the coordinate."""
    x = rng.random((count, 2))
    return x, 3 * x[:, 0] + x[:, 0] * rng.standard_normal(count)


def test_a_share_q_of_new_values_lies_below_the_quantile_q():
    rng, covered = np.random.default_rng(0), []
    for _ in range(60):
        known, values = noisy(60, rng)
        new, truth = noisy(200, rng)
        covered.append((truth <= quantiles(known, values, new, rng)).mean(axis=1))
    # The spread over repetitions is that of the held-out trials.
    found, error = np.mean(covered, axis=0), np.std(covered, axis=0) / math.sqrt(len(covered))
    assert np.all(np.abs(found - LEVELS) < 3 * error + 1 / MIN_HELD_OUT)
    assert np.all(np.diff(found) > 0.05)


def test_quantiles_are_further_apart_where_values_scatter_more():
    rng = np.random.default_rng(0)
    known, values = noisy(400, rng)
    low, high = quantiles(known, values, np.array([[0.1, 0.5], [0.9, 0.5]]), rng)[[0, -1]]
    assert (high - low)[1] > 2 * (high - low)[0]


def trial(
    values: list[float], *, state: State = State.COMPLETE, **kept
) -> optuna.trial.FrozenTrial:
    if state is State.COMPLETE:
        return optuna.trial.create_trial(values=values, **kept)
    steps = dict(enumerate(values, start=1))
    return optuna.trial.create_trial(state=state, intermediate_values=steps, **kept)


def test_a_score_is_the_normal_quantile_of_the_place_of_the_best_value_so_far():
    trials = [trial([3.0]), trial([9.0, 1.0, 4.0], state=State.PRUNED), trial([3.0]),
              trial([2.0], state=State.RUNNING)]  # fmt: skip
    places = np.array([3.5, 1, 3.5, 2])
    np.testing.assert_allclose(scores(trials), norm.ppf((places - 0.5) / 4))


def test_trials_that_break_a_constraint_come_last_and_a_front_has_one_score():
    keep, lose = {"c": -1.0}, {"c": 2.0}
    one = scores([trial([3.0], constraints=keep), trial([1.0], constraints=lose),
                  trial([2.0], constraints=keep)])  # fmt: skip
    assert one.argsort().tolist() == [2, 0, 1]
    corners = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    two = scores([trial(values, constraints=lose if k == 3 else keep)
                  for k, values in enumerate(corners)])  # fmt: skip
    assert two[0] == two[1] < two[2] < two[3]


def test_numbers_have_a_coordinate_and_other_choices_one_for_each_value():
    rows: list[Params] = [
        {"kind": "a", "rate": 1e-2, "size": 8, "layers": 5}, {"kind": None, "size": 1},
    ]  # fmt: skip
    np.testing.assert_allclose(
        features(rows, KINDS), [[1, 0, 0, 0.5, 5 / 6, 0.9], [0, 0, 1, INACTIVE, 1 / 6, INACTIVE]]
    )


@pytest.mark.parametrize("change", [lambda v: math.exp(9 * v), lambda v: 1e-9 * v - 5])
def test_the_scale_of_the_objective_changes_no_suggestion(change):
    plain, scaled = make(LINE), make(LINE)
    for number in range(20):
        params = plain.ask(number)
        assert scaled.ask(number) == params
        plain.tell(drawn(number, params, value=bowl(params)))
        scaled.tell(drawn(number, params, value=change(bowl(params))))


def test_each_draw_has_the_parameters_whose_conditions_hold_and_learns_them():
    def level(params: Params) -> float:
        return abs(math.log10(params.get("rate", 1)) + 2) + (params["size"] != 2)

    late: dict[str, list[float]] = {"cqr": [], "random": []}
    for name, found in late.items():
        it = search_of(KINDS, name, startup_trials=STARTUP)
        for number in range(60):
            params = it.ask(number)
            assert ("rate" in params) == (params["kind"] == "a")
            assert ("layers" in params) == (params["size"] != 1)
            it.tell(drawn(number, params, value=level(params)))
            found.append(level(params))
    assert np.median(late["cqr"][30:]) < np.median(late["random"][30:]) / 2


@pytest.mark.parametrize("prunes", [False, True])
def test_it_ends_better_than_random_draws(prunes: bool):
    def best(name: str, seed: int) -> float:
        plain = search_of(LINE, "random", seed=seed, startup_trials=STARTUP)
        it = make(LINE, seed=seed, prunes=prunes) if name == "cqr" else plain
        found = []
        for number in range(40):
            params = it.ask(number)
            run_curve(it, number, params, bowl(params))
            found.append(bowl(params))
        return min(found)

    pairs = [(best("cqr", seed), best("random", seed)) for seed in range(6)]
    assert sum(ours < theirs for ours, theirs in pairs) >= 5


def test_with_two_objectives_and_a_constraint_it_finds_more_of_the_front():
    goals = Goals(
        objectives=("val", "parameters"), constraints=(read_constraint("epochs", "<= 1"),)
    )

    def near_front(name: str) -> int:
        it = search_of(LINE, name, startup_trials=STARTUP, goals=goals)
        good = 0
        for number in range(60):
            x, y = it.ask(number).values()
            # The front is y = 0, of which the constraint keeps x > 0.5.
            it.observe(number, {"val": x + y, "parameters": 1 - x + y, "epochs": 1.5 - x})
            it.tell(drawn(number, {"x": x, "y": y}, value=x + y))
            good += number >= 20 and y < 0.2 and x > 0.5
        return good

    assert near_front("cqr") > 2 * near_front("random")


def test_values_that_are_given_are_those_of_all_candidates():
    it, distances = make(KINDS), []
    for number in range(60):
        # Draws of its own would all have the better kind.
        kind = "a" if number % 2 else "b"
        params = it.ask(number, {"kind": kind})
        assert params["kind"] == kind
        distance = abs(math.log10(params["rate"]) + 2) if kind == "a" else -9.0
        it.tell(drawn(number, params, value=distance))
        if kind == "a" and number >= 20:
            distances.append(distance)
    assert np.median(distances) < 0.5  # 1 at random


def test_of_a_large_study_it_learns_from_the_best_and_the_latest():
    rng, space = np.random.default_rng(0), {"x": optuna.distributions.FloatDistribution(0, 1)}
    study = optuna.create_study()
    values = rng.random(CQR_ALL + 200).tolist()
    for value in values:
        study.add_trial(optuna.trial.create_trial(value=value, params={"x": value},
                                                  distributions=space))  # fmt: skip
    running = study.ask(space)
    assert [each.value for each in learned_from(study)][-CQR_LATEST:] == values[-CQR_LATEST:]
    running.report(0.5, 1)
    *seen, last = learned_from(study)
    earlier = values[:-CQR_LATEST]
    assert sorted(each.value for each in seen[:CQR_BEST]) == sorted(earlier)[:CQR_BEST]
    assert last.number == running.number
    assert len(seen) == CQR_BEST + CQR_LATEST
