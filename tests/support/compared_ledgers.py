"""Ledgers of small sweeps whose methods are compared: known values, replicates, budgets.

Each study has a preset, a control and sampled trials; the best sampled one and the control are
replicated. Every number is given or follows from a formula.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.ledger import Ledger
from sweeper.model import Outcome, Study, StudyFacts, Trial, TrialKind, TrialState
from tests.support.trials import measured, record, sampled

START = 1_790_000_000.0
FIRST_REPLICATE = 100_000
PRESET, CONTROL, SAMPLED = 0, 1, 2  # numbers of the first trials


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The results of one study: test values by seed, of its best trial and of its control."""

    method: str
    task: str
    best: Sequence[float]  # one value: the best trial alone; more: its replicates, seed by seed
    control: Sequence[float] = (0.5,)
    num_trials: int = 4
    epochs: int = 4
    seconds: float = 2.0  # an epoch
    seeds: Sequence[int] = ()  # of the replicates; default: 100, 101, ...
    facts: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)  # of the best trial, besides the rate
    parameters: Sequence[str] = ("refine.lr",)  # that are searched
    arm: str | None = None  # of an ablation: a preset with replicates, and no control of its own


def facts_of(task: str) -> dict[str, Any]:
    """Return the facts that the ledger keeps of a task's data."""
    return {
        "title": task,
        "dimension": task.partition("@")[0].rpartition("_")[2],
        "kind": "dense",
        "metric": "nrmse",
        "protocol": "one-shot",
        "data_source": "generated",
        "content_hash": "0f3a" * 16,
        "samples": {"train": 200, "val": 30, "test": 40},
        "baselines": {"mean": 1.0},
        "backbone": "minilm",
        "pretrained": "pretrained",
        "weights_hash": "5eed" * 16,
        "published": [],
    }


def write(
    folder: Path,
    name: str,
    studies: Sequence[Scores],
    *,
    launches: Sequence[Mapping[str, Any]] = ({},),
    resolved: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    **sections: Mapping[str, Any] | None,
) -> Ledger:
    """Write a finished sweep and return its ledger; its clock ticks a second a write.

    Args:
        launches: The facts about each launch.
        resolved: The whole resolved file, in place of one made of the other arguments.
        provenance: The provenance of the sweep.
        **sections: Sections of the file, such as `model`; those of `search` are further settings.
    """
    ticks = itertools.count()
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}", name, clock=lambda: START + next(ticks))
    given = {key: dict(section) for key, section in sections.items() if section is not None}
    parameters = {"refine.lr": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3}}
    resolved = resolved or {
        "name": name,
        "parameters": parameters,
        "resources": {"cpu": 1, "gpu": 0},
        **({"base": "preset", "tune": "shared"} if "compare_by" in given else {}),
        **given,
        "search": {"trials": max(s.num_trials for s in studies), **given.get("search", {})},
        "failures": {"max_failed_fraction": 0.2},
    }
    told = {"config_hash": "ab" * 32, "profile": "laptop", "text": f"name: {name}\n"}
    ledger.create(record(name, experiment="pdebench", resolved=resolved, **told))
    for facts in launches:
        ledger.start(dict(provenance or {}), **facts)
    for scores in studies:
        _write_study(ledger, scores)
    ledger.end("finished")
    return ledger


def _write_study(ledger: Ledger, scores: Scores) -> None:
    name = "/".join(filter(None, (scores.method, scores.task, scores.arm)))
    study = Study(name=name, method=scores.method, task=scores.task, objective="val/nrmse", seed=1)
    ledger.add_study(study, StudyFacts.from_json({**facts_of(scores.task), **scores.facts}))
    if scores.arm is not None:
        _write_arm(ledger, scores, name)
        return
    for number in range(scores.num_trials):
        kind = (TrialKind.PRESET, TrialKind.CONTROL)[number] if number < 2 else TrialKind.SAMPLED
        value = {PRESET: 0.6, CONTROL: scores.control[0], SAMPLED: scores.best[0]}.get(number, 0.7)
        chosen = tuple(scores.parameters) if kind is TrialKind.SAMPLED else ()
        facts = {"kind": kind, "params": _params(scores, number), "sampled": chosen}
        run(ledger, sampled(name, number, seed=7000 + number, **facts), value, scores)
    number = FIRST_REPLICATE
    for origin, values in ((SAMPLED, scores.best), (CONTROL, scores.control)):
        seeds = scores.seeds or range(100, 100 + len(values))
        for seed, value in zip(seeds, values, strict=True) if len(values) > 1 else ():
            facts = {"kind": TrialKind.REPLICATE, "params": _params(scores, origin)}
            run(ledger, sampled(name, number, seed=seed, origin=origin, **facts), value, scores)
            number += 1


def _write_arm(ledger: Ledger, scores: Scores, name: str) -> None:
    run(ledger, sampled(name, PRESET, kind=TrialKind.PRESET, seed=7000), 0.6, scores)
    seeds = scores.seeds or range(100, 100 + len(scores.best))
    for number, (seed, value) in enumerate(zip(seeds, scores.best, strict=False)):
        facts = {"kind": TrialKind.REPLICATE, "seed": seed, "origin": PRESET}
        run(ledger, sampled(name, FIRST_REPLICATE + number, **facts), value, scores)


def _params(scores: Scores, number: int) -> dict[str, Any]:
    """Return the settings of a searched trial, which its replicates share."""
    searched = {name: 1e-4 * (number + 1) / (i + 1) for i, name in enumerate(scores.parameters)}
    return {**searched, **(scores.params if number == SAMPLED else {})}


def run(ledger: Ledger, trial: Trial, value: float, scores: Scores) -> None:
    """Write a trial to its end: validation falls to `value`, which the test split has too."""
    ledger.add_trial(trial)
    attempt = ledger.start_attempt(trial.study, trial.number)
    for epoch in range(1, scores.epochs + 1):
        objective = value * (1 + 0.5 * (scores.epochs - epoch))
        is_final = epoch == scores.epochs
        metrics = {"refine/train_loss": objective / 2, "val/nrmse": objective}
        metrics |= {"test/nrmse": value} if is_final else {}
        found = measured(
            epoch, objective, num_epochs=scores.epochs, metrics=metrics, is_final=is_final,
            seconds=scores.seconds * epoch,
        )  # fmt: skip
        ledger.measure(trial.study, trial.number, attempt, found)
    outcome = Outcome(state=TrialState.COMPLETE, test={"test/nrmse": value})
    ledger.end_attempt(trial.study, trial.number, attempt, outcome)
