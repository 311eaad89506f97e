"""Fills a sweep's studies for the runner: who leads, who suggests, and what completes a trial."""

from functools import partial
from typing import Any

from sweeper import runner
from sweeper.ledger import Ledger
from sweeper.search.optuna_sampler import OptunaSampler, make_pruner
from sweeper.space.sweep import InfeasibleParams, StudyPlan, Sweep
from sweeper.study import Params, Study, TrialKind
from trainables.seeding import derive_seed


def make_plans(
    sweep: Sweep, ledger: Ledger, facts: dict[str, dict[str, Any]]
) -> list[runner.StudyPlan]:
    """Returns a plan for each study, and enters new studies into the ledger."""
    plans = []
    for planned in sweep.studies():
        seed = derive_seed(sweep.search.seed, planned.name) % 2**31
        study = Study(
            name=planned.name,
            method=planned.method,
            task=planned.task,
            objective=planned.objective,
            seed=seed,
        )
        ledger.add_study(study, facts[planned.name])
        plans.append(
            runner.StudyPlan(
                study=study,
                leading=_leading(planned),
                num_trials=planned.num_trials,
                sampler=_sampler(sweep, planned, seed),
                complete=partial(_complete, sweep, planned),
                trial_seed=partial(_trial_seed, sweep.search.seed, planned.task),
            )
        )
    return plans


def _sampler(sweep: Sweep, planned: StudyPlan, seed: int) -> OptunaSampler:
    pruning = sweep.pruning
    return OptunaSampler(
        planned.parameters,
        sampler=sweep.search.sampler,
        pruner=make_pruner(pruning.type, min_epochs=planned.min_epochs, eta=pruning.eta),
        seed=seed,
        startup_trials=sweep.search.startup_trials,
    )


def _leading(planned: StudyPlan) -> tuple[tuple[TrialKind, Params], ...]:
    """The preset and, where the method is not vanilla fine-tuning itself, its control."""
    preset = (TrialKind.PRESET, planned.preset)
    return (preset, (TrialKind.CONTROL, planned.control)) if planned.entry.control else (preset,)


def _trial_seed(search_seed: int, task: str, number: int) -> int:
    """The seed of trial `number`: the same for every method on this task, so that they pair, and
    the same for the preset (0) and its control (1)."""
    return derive_seed(search_seed, task, "trial", max(0, number - 1))


def _complete(sweep: Sweep, planned: StudyPlan, params: Params) -> Params:
    try:
        return sweep.complete_params(planned, params)
    except InfeasibleParams as error:
        raise runner.Infeasible(str(error)) from error
