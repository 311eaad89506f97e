"""Evidence: the numbers of a finished sweep, and the key of all that they depend on.

The key has the settings that decide numbers, the code of the methods involved, and the hashes of
the data. Evidence holds as long as all three are those of the present. Names, resources, budgets,
places of files and code of the service are no part of it.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.ledger import EventKind, Ledger
from sweeper.model import CONTROL_ARM, Study, StudyFacts
from sweeper.results.comparison import CurvePoint
from sweeper.results.entries import control_of
from sweeper.results.floors import FLOOR_FACTS
from sweeper.results.prose import DISTANCES
from sweeper.results.read import read_sweep
from sweeper.results.schema import StudyResult, TrialRow, finite
from sweeper.text import JsonObject, differences

__all__ = [
    "Agreement",
    "Confirmation",
    "CurvePoint",
    "Evidence",
    "Key",
    "Machine",
    "Plane",
    "Result",
    "StudyRecord",
    "read_evidence",
]

INDIFFERENT = ("name", "experiment", "question", "max_arms", "resources", "budget", "checkpoints",
               "stage_store", "failures", "tracking", "notify")  # fmt: skip
HIDDEN = ("lr", "grad_norm", "loss", "converged", "skipped_classes", "_best")  # ends of metrics
FACTS = ("title", "dimension", "kind", "metric", "protocol", "data_source", "content_hash",
         "samples", *FLOOR_FACTS, "solver_seconds", "backbone", "pretrained", "weights_hash",
         "proxy")  # fmt: skip
OF_TABLES = ("published", "published_samples")  # further facts of studies that are no arms
SEVERAL = "several"  # hash of a module that was changed between two launches of a sweep
MAX_SHOWN = 3  # modules that a message names
LANDSCAPE = "landscape/"  # start of the metrics of a plane


@dataclass(frozen=True, kw_only=True)
class Key:
    """All that numbers depend on. Evidence with an equal key is as good as a new run."""

    settings: JsonObject  # of the resolved file
    code: Mapping[str, str] | None  # module -> hash; None: unknown
    data: Mapping[str, str]  # task -> hash of its content

    def changes(self, now: "Key") -> dict[str, str]:
        """Return what differs in the key of the present, by `settings`, `code` and `data`.

        Data that this machine does not have are not compared.
        """
        found = {}
        if lines := differences(self.settings, now.settings):
            found["settings"] = "; ".join(lines)
        if self.code is None:
            found["code"] = "not recorded"
        elif now.code is not None and (modules := _unlike(self.code, now.code)):
            more = f" and {len(modules) - MAX_SHOWN} more" * (len(modules) > MAX_SHOWN)
            found["code"] = ", ".join(modules[:MAX_SHOWN]) + more
        tasks = [task for task, had in self.data.items() if now.data.get(task, had) != had]
        if tasks:
            found["data"] = ", ".join(tasks)
        return found


def _unlike(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the modules whose code differs.

    A module that only one of them has does not count: whatever began or ceased to import it has
    other code, too.
    """
    common = old.keys() & new.keys()
    return sorted(name for name in common if old[name] != new[name]) if common else sorted(old)


def deciding(resolved: JsonObject) -> dict[str, object]:
    """Return the settings of a resolved sweep that decide its numbers."""
    kept = {name: value for name, value in resolved.items() if name not in INDIFFERENT}
    if "search" in kept:
        kept["search"] = {k: v for k, v in kept["search"].items() if k != "max_concurrent"}
    return kept


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The devices that a sweep ran on."""

    slots: int | None  # trials at a time; None: unknown
    cpu: float  # cores of a trial
    gpu: float
    processor: str | None = None  # of the machine of the driver; None: unknown

    def __str__(self) -> str:
        devices = f"{self.cpu:g} CPU core"
        if self.gpu:
            devices = f"{self.gpu:g} GPUs" if self.gpu > 1 else f"{self.gpu:g} of a GPU"
        if self.processor is not None:
            devices += f" ({self.processor})"
        return (
            devices if self.slots is None else f"{self.slots} trials at a time, each on {devices}"
        )


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """One study: a method, or an arm of it, on one task."""

    name: str
    method: str
    task: str
    objective: str  # val/nrmse
    facts: StudyFacts

    @property
    def arm(self) -> str | None:
        """The name of the arm of an ablation, or None."""
        return Study(
            name=self.name, method=self.method, task=self.task, objective=self.objective, seed=0
        ).arm


@dataclass(frozen=True, kw_only=True)
class Result:
    """The training of one configuration on one seed."""

    study: str
    seed: int
    validation: float | None
    test: float | None
    epochs: int
    device_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)  # last values


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The validation loss around the best weights of one training, along two random directions."""

    study: str
    seed: int
    a: tuple[float, ...]  # steps along the first direction, relative to the norm of the weights
    b: tuple[float, ...]  # along the second
    loss: tuple[tuple[float, ...], ...]  # [a, b]

    @classmethod
    def of(cls, study: str, seed: int, points: Mapping[tuple[float, float], float]) -> "Plane":
        """Return the plane of a training from the loss at each step (a, b).

        Raises:
            KeyError: The points are no grid.
        """
        rows, columns = (tuple(dict.fromkeys(steps)) for steps in zip(*points, strict=True))
        loss = tuple(tuple(points[a, b] for b in columns) for a in rows)
        return cls(study=study, seed=seed, a=rows, b=columns, loss=loss)

    @property
    def points(self) -> Iterator[tuple[float, float, float]]:
        """The steps a and b of each point, and its loss."""
        for a, row in zip(self.a, self.loss, strict=True):
            for b, loss in zip(self.b, row, strict=True):
                yield a, b, loss


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Trainings by later code, which gave the numbers of the evidence bit by bit."""

    on: str | None  # 2026-11-27
    commit: str | None
    trainings: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The numbers of a finished sweep."""

    name: str
    profile: str
    config_hash: str
    key: Key
    question: JsonObject | None  # as it was written down when the sweep ran
    commit: str | None  # of the code that ran, where that is known
    packages: Mapping[str, str]
    finished: str | None  # 2026-11-27
    machine: Machine
    studies: tuple[StudyRecord, ...]
    results: tuple[Result, ...]
    curves: tuple[CurvePoint, ...] = ()
    planes: tuple[Plane, ...] = ()
    confirmed: Confirmation | None = None  # the latest one; the key has its code

    @property
    def has_landscapes(self) -> bool:
        """True if trainings evaluated the loss around their weights (`STAGE.landscape`)."""
        return any(name.startswith(LANDSCAPE) for row in self.results for name in row.metrics)

    def check_again(self, again: "Evidence") -> "Agreement":
        """Compare these results with those of the same studies and seeds by other code."""
        mine = {(row.study, row.seed): row for row in self.results}
        both = [(mine[k], row) for row in again.results if (k := (row.study, row.seed)) in mine]
        gaps = [
            abs((one.test or 0.0) - (two.test or 0.0))
            for one, two in both
            if (one.validation, one.test) != (two.validation, two.test)
        ]
        missing = {row.study for row in self.results} - {row.study for row, _ in both}
        return Agreement(
            trainings=len(both), unlike=len(gaps), largest=max(gaps, default=0.0),
            missing=len(missing),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Results of evidence and of some trainings after it."""

    trainings: int
    unlike: int  # number with another validation or test value
    largest: float  # difference of test values
    missing: int  # studies without a training

    @property
    def is_whole(self) -> bool:
        """True if each study was trained again and gave the same bits."""
        return bool(self.trainings) and not self.unlike and not self.missing


def read_evidence(ledger: Ledger) -> Evidence:
    """Return the evidence of a sweep: the replicates of its best configurations and controls.

    A configuration without replicates has its single training.

    Raises:
        NotFound: The sweep was never started.
    """
    sweep = read_sweep(ledger)
    record = sweep.record
    starts = ledger.events(kinds=(EventKind.SWEEP_STARTED,))
    ends = ledger.events(kinds=(EventKind.SWEEP_ENDED,))
    chosen = [each for tuned in sweep.studies for each in _chosen(tuned)]
    resources = record.resolved.get("resources") or {}
    slots = starts[-1].payload.get("slots") if starts else None
    provenance = record.provenance
    return Evidence(
        name=record.name,
        profile=record.profile,
        config_hash=record.config_hash,
        key=Key(
            settings=deciding(record.resolved),
            code=_merged([start.payload.get("code") for start in starts]),
            data={
                each.task: each.facts.content_hash
                for each, _, _ in chosen
                if each.facts.content_hash and not _has_own_data(each)
            },
        ),
        question=record.resolved.get("question"),
        commit=None if provenance.get("git_dirty") else provenance.get("git_commit"),
        packages={k: v for k, v in (provenance.get("packages") or {}).items() if v},
        finished=time.strftime("%Y-%m-%d", time.gmtime(ends[-1].at)) if ends else None,
        machine=Machine(
            slots=slots if isinstance(slots, int) else None,
            cpu=float(resources.get("cpu") or 1),
            gpu=float(resources.get("gpu") or 0),
            processor=provenance.get("processor"),
        ),
        studies=tuple(each for each, _, _ in chosen),
        results=tuple(
            _result(each.name, tuned, trial) for each, tuned, trials in chosen for trial in trials
        ),
        curves=tuple(
            point for each, tuned, trials in chosen for point in _curves(each, tuned, trials)
        ),
    )


def _merged(codes: Sequence[Mapping[str, str] | None]) -> dict[str, str] | None:
    """Return the code of all launches of a sweep, or None if one did not record it."""
    merged: dict[str, str] = {}
    for code in codes:
        if code is None:
            return None
        merged = {**code, **{k: v if code.get(k, v) == v else SEVERAL for k, v in merged.items()}}
    return merged or None


def _has_own_data(study: StudyRecord) -> bool:
    """Return whether the arm of a study pins settings of the data."""
    return study.arm is not None and any(p.startswith("data.") for p in study.arm.split(","))


_Chosen = tuple[StudyRecord, StudyResult, Sequence[TrialRow]]


def _chosen(tuned: StudyResult) -> Iterator[_Chosen]:
    """Yield a study's best configuration, and the control of a study that is no arm."""
    study = tuned.study
    if tuned.arm is None and tuned.record.resolved.get("compare_by"):
        return  # the base of an ablation
    wanted = FACTS if tuned.arm is not None else (*FACTS, *OF_TABLES)
    facts = StudyFacts(**{name: getattr(tuned.facts, name) for name in wanted})
    named = StudyRecord(
        name=study.name, method=study.method, task=study.task, objective=study.objective,
        facts=facts,
    )  # fmt: skip
    if tuned.best is not None:
        yield named, tuned, tuned.reached(tuned.best).trainings
    control = control_of(tuned).trial if tuned.arm is None else None
    if control is not None:
        (trial,) = (t for t in tuned.trials if t.number == control)
        vanilla = StudyRecord(**{**vars(named), "name": f"{study.name}/{CONTROL_ARM}"})
        yield vanilla, tuned, tuned.reached(trial).trainings


def _result(study: str, tuned: StudyResult, trial: TrialRow) -> Result:
    count = tuned.devices[1]
    mine = (tuned.study.objective, tuned.test_metric)
    metrics = {
        name: value
        for name, value in trial.recorded.items()
        if name not in mine and math.isfinite(value)
        if not name.removesuffix("_start").endswith(HIDDEN)
    }
    return Result(
        study=study,
        seed=trial.seed,
        validation=finite(trial.value),
        test=finite(tuned.test_value(trial)),
        epochs=trial.epochs,
        device_seconds=count * trial.seconds,
        metrics=metrics,
    )


def _curves(
    study: StudyRecord, tuned: StudyResult, trials: Sequence[TrialRow]
) -> Iterator[CurvePoint]:
    """Yield the points of the objective and of the first distance, by epoch."""
    values: dict[tuple[str, str, int], list[float]] = {}
    for trial in trials:
        for each in trial.measurements:
            for name in (study.objective, *_distance(each.metrics)):
                value = each.objective if name == study.objective else each.metrics.get(name)
                if value is not None and math.isfinite(value):
                    values.setdefault((name, each.stage, each.epoch), []).append(value)
    for (name, stage, epoch), numbers in values.items():
        yield CurvePoint.of(study.name, name, stage, epoch, numbers)


def _distance(metrics: Mapping[str, float]) -> list[str]:
    """Return the name of the most usual distance among metrics, if there is one."""
    found = (name for each in DISTANCES for name in metrics if name.rpartition("/")[2] == each)
    return list(found)[:1]
