"""Samplers that keep their state in attributes draw on after an interruption as if without it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from sweeper.core.promotion import PromotionRule
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import StudyPlan
from sweeper.errors import SweeperError
from sweeper.ledger import Ledger
from sweeper.ledger.database import url_in
from sweeper.model import Params, Study, Trial
from sweeper.planning.samplers import SAMPLERS
from sweeper.search.factories import SamplerFactory
from sweeper.spec.distributions import Distribution, Int
from tests.support.fakes import run_in_slots
from tests.support.ledgers import NAME, new_ledger
from tests.support.searches import search_of

TRIALS, EPOCHS = 24, 4
STUDY = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=7)
SPACE: dict[str, Distribution] = {f"refine.x{k}": Int(low=-9, high=9) for k in range(3)}


class Climber(optuna.samplers.RandomSampler):
    """A sampler of a plugin: it draws between chance and the best trial of a while ago."""

    def before_trial(self, study, trial):
        best = study.user_attrs.get("best")
        study._storage.set_trial_user_attr(trial._trial_id, "best", best)

    def sample_independent(self, study, trial, param_name, param_distribution):
        at_random = super().sample_independent(study, trial, param_name, param_distribution)
        best = study.trials[-3:][0].user_attrs["best"]
        if best is None or study.user_attrs["ended"] % 4 == 0:
            return at_random
        return (at_random + best[0][param_name]) // 2

    def after_trial(self, study, trial, state, values):
        study.set_user_attr("ended", study.user_attrs.get("ended", 0) + 1)
        best = study.user_attrs.get("best")
        if values and (best is None or values[0] < best[1]):
            study.set_user_attr("best", (trial.params, values[0]))


def of_a_plugin(make: Callable[..., optuna.samplers.BaseSampler]) -> SamplerFactory:
    return lambda *, seed, study_seed, startup_trials: make(seed=seed)


def grid_of_optuna(*, seed, study_seed, startup_trials):
    points = {name: list(range(-9, 10, 9)) for name in SPACE}
    return optuna.samplers.GridSampler(points, seed=study_seed)


KINDS: dict[str, SamplerFactory] = {
    **{name: SAMPLERS[name] for name in ("cmaes", "nsga2", "qmc", "grid")},
    "climber": of_a_plugin(Climber),
    "optuna-grid": grid_of_optuna,
    "optuna-cmaes": of_a_plugin(optuna.samplers.CmaEsSampler),
    "optuna-nsga2": of_a_plugin(
        lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=4)
    ),
}


def plan(draw: SamplerFactory, pruning: str) -> StudyPlan:
    sampler = search_of(SPACE, draw, pruning, seed=STUDY.seed)
    rule = PromotionRule(rungs=(1, 2), eta=2) if pruning == "promote" else PromotionRule()
    return StudyPlan(
        study=STUDY, leading=(), num_trials=TRIALS, sampler=sampler, complete=lambda params: params,
        trial_seed=lambda number: number, promotion=rule,
    )  # fmt: skip


def curve_of(trial: Trial) -> list[float]:
    level = sum((x - 2 * k) ** 2 for k, x in enumerate(trial.params.values()))
    return [level + 1 / (1 + epoch) for epoch in range(EPOCHS)]


def drawn(folder: Path, draw: SamplerFactory, pruning: str, *, interrupts: bool) -> list[Params]:
    """Return the draws of a search, perhaps with a new driver amid each third trial."""
    folder.mkdir(exist_ok=True)
    with closing(new_ledger(folder)) as ledger:
        ledger.add_study(STUDY)
        left = set(range(2, TRIALS, 3)) if interrupts else set()
        while True:
            runner = SweepRunner([plan(draw, pruning)], ledger)
            for trial, measurement, _ in run_in_slots(runner, curve_of, 1):
                if measurement is not None and trial.number in left:
                    left.remove(trial.number)
                    break
            if runner.is_done:
                break
        assert not left
        return [trial.params for trial in ledger.trials()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("pruning", ["none", "asha", "promote"])
@pytest.mark.parametrize("name", KINDS)
def test_a_search_interrupted_at_each_third_trial_draws_as_if_not(tmp_path, name, pruning):
    if "cmaes" in name:
        pytest.importorskip("cmaes")
    whole = drawn(tmp_path / "whole", KINDS[name], pruning, interrupts=False)
    assert drawn(tmp_path / "parts", KINDS[name], pruning, interrupts=True) == whole
    assert len({str(params) for params in whole}) > TRIALS / 3


def test_an_attribute_that_is_not_json_is_a_fault_of_the_sampler(tmp_path):
    class Careless(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            study.set_user_attr("seen", {1, 2})

    with pytest.raises(SweeperError, match=r"sampler of trial 0 failed: TypeError: .*set is not"):
        drawn(tmp_path, of_a_plugin(Careless), "none", interrupts=False)


def test_a_fault_at_the_end_of_a_trial_comes_before_its_commit(tmp_path):
    class Careless(optuna.samplers.RandomSampler):
        def after_trial(self, study, trial, state, values):
            raise ValueError("boom")

    with pytest.raises(SweeperError, match="sampler of trial 0 failed: ValueError: boom"):
        drawn(tmp_path, of_a_plugin(Careless), "none", interrupts=False)
    with closing(Ledger(url_in(tmp_path), NAME)) as ledger:
        (trial,) = ledger.trials()
        measured = ledger.measurements(STUDY.name, 0)
    assert not trial.state.is_finished
    assert [each.is_final for each in measured] == [False] * (EPOCHS - 1)
