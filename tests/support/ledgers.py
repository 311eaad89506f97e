"""The ledger of a small, realistic sweep, written without training anything.

mona and nft on pdebench/advection_1d: a preset, a control, and sampled trials that complete, are
pruned or fail. Curves follow a formula, so every number is known. The first sampled trial of nft
loses its first attempt, and runs one epoch again.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.ledger import Ledger
from sweeper.model import Outcome, Study, StudyFacts, TrialKind, TrialState
from sweeper.results.read import read_studies
from sweeper.results.schema import StudyResult
from tests.support.trials import measured, record, sampled

NAME = "mona_pdebench"
TASK = "pdebench/advection_1d"
START = 1_790_000_000.0
EPOCHS = 6
FLOORS = {"mona": 0.06, "nft": 0.09}
FILE = """\
name: mona_pdebench
experiment: pdebench
methods: [mona, nft]   # <b>who</b> wins?
tasks: [pdebench/advection_1d]
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1.0e-6, max: 1.0e-3}
"""
RESOLVED = {
    "name": NAME,
    "experiment": "pdebench",
    "methods": ["mona", "nft"],
    "tasks": [TASK],
    "backbones": {"1d": "roberta_base"},
    "parameters": {
        "refine.lr": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3},
        "refine.optimizer": {"values": ["adam", "sgd"]},
    },
    "fixed": {"refine.epochs": EPOCHS},
    "search": {"sampler": "tpe", "trials": 5, "seed": 0},
    "failures": {"max_failed_fraction": 0.5},
}
FACTS = {
    "backbone": "roberta_base",
    "pretrained": "pretrained",
    "weights_hash": "5eed" * 16,
    "proxy": "conll2003",
    "data_source": "generated",
    "protocol": "compat",
    "content_hash": "0f3a" * 16,
    "baselines": {"mean": 1.0, "persistence": 0.41},
    "floor": {"name": "persistence", "value": 0.41, "validation": 0.4, "seconds": 0.01},
    "published_samples": 10_000,
    "published": [
        {
            "method": "orca",
            "task": TASK,
            "value": 0.0098,
            "metric": "nrmse",
            "protocol": "one-shot",
            "table": "PDEBench",
            "citation": "Shen et al., ICML 2023",
        }
    ],
    "metric": "nrmse",
    "dimension": "1d",
}
RECORD = record(config_hash="", profile="")
PROVENANCE = {
    "host": "node-1",
    "python": "3.11.7",
    "packages": {"torch": "2.13.0", "ray": "2.60.0"},
    "git_commit": "c0ffee" * 6 + "c0ff",
}


def new_ledger(folder: Path, name: str = NAME) -> Ledger:
    """Create the ledger of a sweep that has yet to start; its clock ticks a second a write."""
    ticks = itertools.count()
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}", name, clock=lambda: START + next(ticks))
    facts = {"config_hash": "ab" * 32, "profile": "laptop", "text": FILE, "provenance": PROVENANCE}
    ledger.create(record(name, experiment="pdebench", resolved=RESOLVED, **facts))
    return ledger


def objective(method: str, rate: float, epoch: int) -> float:
    """The curve of every trial: from 1 down to the method's floor, by `rate` an epoch."""
    return FLOORS[method] + (1 - FLOORS[method]) * math.exp(-rate * epoch)


def distance(number: int) -> float:
    """Return the distance of the source from MoNA's features: the smaller, the lower the error."""
    return 10.0 - rate_of(number)


def rate_of(number: int) -> float:
    """Return the rate at which a trial learns."""
    return {0: 0.5, 1: 0.35}.get(number, 0.8 - 0.06 * (number % 7))


def script(ledger: Ledger, folder: Path, *, num_trials: int = 5) -> Iterator[None]:
    """Write the whole sweep, and pause after every write."""
    ledger.start(PROVENANCE)
    yield
    for method in ("mona", "nft"):
        study = Study(
            name=f"{method}/{TASK}", method=method, task=TASK, objective="val/nrmse", seed=7
        )
        ledger.add_study(study, StudyFacts.from_json(FACTS))
        yield
        for number in range(num_trials):
            yield from _trial(ledger, study, number, folder)
    ledger.end("finished")
    yield


def finished_ledger(folder: Path, *, num_trials: int = 5) -> Ledger:
    """Return the ledger of the sweep, run to its end."""
    ledger = new_ledger(folder)
    list(script(ledger, folder, num_trials=num_trials))
    return ledger


def tuned_study(ledger: Ledger, study: str) -> StudyResult:
    """Return one study as the analysis reads it."""
    (found,) = (c for c in read_studies([ledger]) if c.study.name == study)
    return found


def _trial(ledger: Ledger, study: Study, number: int, folder: Path) -> Iterator[None]:
    kind = (TrialKind.PRESET, TrialKind.CONTROL)[number] if number < 2 else TrialKind.SAMPLED
    end = _end_of(number)
    lr = 1e-3 * 10 ** (-0.37 * (number % 7))
    trial = sampled(
        study.name,
        number,
        kind=kind,
        params={
            "meta.alpha": 0.01,
            "meta.epochs": 0 if kind is TrialKind.CONTROL else 2,
            "refine.lr": lr,
            "refine.optimizer": ("adam", "sgd")[number % 2],
            "refine.epochs": EPOCHS,
        },
        sampled=("refine.lr", "refine.optimizer") if kind is TrialKind.SAMPLED else (),
        seed=2**62 + number,
    )
    ledger.add_trial(trial)
    yield
    attempt = ledger.start_attempt(study.name, number)
    yield
    checkpoint = _checkpoint(folder / "checkpoints" / study.method / f"{number:03d}")
    for epoch in (1, 2) if kind is not TrialKind.CONTROL and study.method == "mona" else ():
        metrics = {"meta/outer_loss": 1 / epoch, "meta/cos_grad": 0.1 * epoch}
        metrics["meta/otdd_exact"], seconds = distance(number), float(epoch)
        found = measured(epoch, stage="meta", num_epochs=2, metrics=metrics, seconds=seconds)
        ledger.measure(study.name, number, attempt, found)
        yield
    rate = rate_of(number)
    epochs = list(range(1, {"pruned": 3, "failed": 4}.get(end, EPOCHS + 1)))
    if study.method == "nft" and number == 2:  # an attempt that dies, and one epoch again
        epochs.insert(3, 3)
    previous = 0
    for epoch in epochs:
        if epoch == previous:
            crash = Outcome(
                state=TrialState.WAITING, failure="crash", reason="the worker died", log="signal 9"
            )
            ledger.end_attempt(study.name, number, attempt, crash)
            yield
            attempt = ledger.start_attempt(study.name, number)
            yield
        previous, value = epoch, objective(study.method, rate, epoch)
        is_final = epoch == EPOCHS
        metrics = {"refine/train_loss": value**2, "val/nrmse": value}
        metrics |= {"test/nrmse": value * 1.1} if is_final else {}
        found = measured(
            epoch, value, num_epochs=EPOCHS, metrics=metrics, is_final=is_final,
            checkpoint=str(checkpoint), seconds=2.0 * epoch,
        )  # fmt: skip
        ledger.measure(study.name, number, attempt, found)
        yield
    if end == "complete":
        test = {"test/nrmse": objective(study.method, rate, EPOCHS) * 1.1}
        outcome = Outcome(state=TrialState.COMPLETE, test=test)
    elif end == "pruned":
        reason = "worse than its peers at refine epoch 2"
        outcome = Outcome(state=TrialState.PRUNED, reason=reason)
    else:
        reason = "the loss is <nan> at refine epoch 4"
        outcome = Outcome(
            state=TrialState.FAILED, failure="non_finite", reason=reason, log="Traceback ..."
        )
    ledger.end_attempt(study.name, number, attempt, outcome)
    yield


def _end_of(number: int) -> str:
    if number < 3:
        return "complete"
    return ("pruned", "failed", "complete", "complete", "pruned")[(number - 3) % 5]


def _checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state.json", "manifest.json", "last.safetensors", "best.safetensors"):
        (folder / name).write_text(f"{folder.name} {name}")
    return folder


Content = dict[tuple[str, int], tuple[Any, ...]]


def content_of(ledger: Ledger) -> Content:
    """Return all that a ledger has of each trial, but for times, attempts and their order."""
    return {
        (trial.study, trial.number): (
            (trial.kind, trial.params, trial.sampled, trial.seed, trial.origin),
            (trial.state, trial.failure, trial.reason, trial.value, trial.best_epoch, trial.test),
            trial.sampler_state,
            [(m.stage, m.epoch, m.objective, m.metrics)
             for m in ledger.measurements(trial.study, trial.number)],
        )
        for trial in ledger.trials()
    }  # fmt: skip
