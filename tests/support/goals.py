"""Ledgers of searches with several objectives and constraints, written by the real runner.

Wide models are good, large and slow, so that every trial of different width is on the front.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.core.budget import StudyBudget
from sweeper.core.promotion import PromotionRule
from sweeper.core.replication import Replication
from sweeper.core.runner import SweepRunner
from sweeper.ledger import Ledger
from sweeper.model import Decision, Params, Study, StudyFacts, TrialKind
from sweeper.spec.goals import Goals
from tests.support.fakes import FixedSampler, plan
from tests.support.trials import record
from trainables.report import Measurement

EPOCHS = 3
TASK = "pdebench/advection_1d"
TWO = {"objectives": ["val/nrmse", "seconds"], "constraints": {"parameters": "<= 12"}}
FREE: Mapping[str, Any] = {}
UNLIMITED = StudyBudget()


def study_of(method: str, arm: str | None = None) -> Study:
    name = "/".join(filter(None, (method, TASK, arm)))
    return Study(name=name, method=method, task=TASK, objective="val/nrmse", seed=0)


def reports(params: Params, done: int = 0) -> list[Measurement]:
    """Return what an attempt measures after `done` epochs."""
    lr, width = params["refine.lr"], params["refine.width"]
    found = []
    for epoch in range(done + 1, EPOCHS + 1):
        value = abs(lr - 0.3) + 1 / width + 1 / epoch
        metrics = {"val/nrmse": value, "val/loss": lr * epoch}
        found.append(
            Measurement(
                stage="refine",
                epoch=epoch,
                num_epochs=EPOCHS,
                metrics={**metrics, **({"test/nrmse": value} if epoch == EPOCHS else {})},
                objective=value,
                is_final=epoch == EPOCHS,
                seconds=float(width * (epoch - done)),
                peak_memory_bytes=1000 * width + epoch,
                parameters=width,
            )
        )
    return found


def run(runner: SweepRunner, most: int = 10**6) -> bool:
    """Report epochs of one trial after the other; return False if `most` were reported before."""
    while (trial := runner.next_trial()) is not None:
        done = len(runner.studies[trial.study].epochs.get(trial.number, ()))
        for measurement in reports(trial.params, done):
            if most == 0:
                return False
            most -= 1
            if runner.on_report(trial, measurement) is not Decision.CONTINUE:
                break
    return True


def write(
    folder: Path,
    widths: Mapping[str, Sequence[int]],
    search: Mapping[str, Any] = TWO,
    *,
    budget: StudyBudget = UNLIMITED,
    replication: Replication | None = None,
    promotion: PromotionRule | None = None,
    arms: Sequence[str] = (),
) -> Ledger:
    """Write a finished sweep whose methods have sampled trials of these widths.

    Args:
        folder: The folder of the sweep.
        widths: The widths of the trials of each method.
        search: Further settings of the search.
        budget: The budget of each study.
        replication: The replicates of each study.
        promotion: The rule by which trials pause.
        arms: The arms of each method, with the settings of its best trial.
    """
    ledger = Ledger.in_folder(folder)
    resolved = {
        "name": folder.name,
        "search": {"trials": max(map(len, widths.values())), **search},
        "resources": {"cpu": 2, "gpu": 0},
        "parameters": {},
        "failures": {"max_failed_fraction": 0.2},
        **({"compare_by": {"x": list(arms)}, "base": "tuned", "tune": "shared"} if arms else {}),
    }
    ledger.create(record(folder.name, resolved=resolved))
    ledger.start({})
    plans = []
    for method, wanted in widths.items():
        study = study_of(method)
        ledger.add_study(study, StudyFacts(metric="nrmse", data_source="generated"))
        sampler = FixedSampler([{"refine.lr": 0.3, "refine.width": width} for width in wanted])
        plans.append(
            plan(sampler, study=study, num_trials=len(wanted), complete=dict, budget=budget,
                 goals=Goals.of(resolved, "val/nrmse"), replication=replication,
                 promotion=promotion)
        )  # fmt: skip
        for arm in (study_of(method, name) for name in arms):
            ledger.add_study(arm, StudyFacts(metric="nrmse", data_source="generated"))
            of_arm = plan(FixedSampler([]), study=arm, num_trials=1, complete=dict,
                          leading=[(TrialKind.PRESET, {})])  # fmt: skip
            plans.append(replace(of_arm, base=study.name))
    run(SweepRunner(plans, ledger))
    ledger.end("finished")
    return ledger
