"""The audit of one task: what its data can show, before a network is trained.

It finds near duplicates between splits, targets that are constant or lie on a line, the share of
the targets that a linear map explains, how ridge and nearest neighbours learn with more samples,
the balance of labels, and the smallest difference of two methods that the test split can show.

Shapes: n = samples, m = numbers of an output.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.tasks.predictors import PREDICTORS, CannotApply, Predictor, Setting
from trainables.tasks.predictors.features import MAX_SAMPLES, targets
from trainables.tasks.predictors.floor import Scores, scores_of
from trainables.tasks.predictors.predictor import head, score
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task
from trainables.tasks.verification import nearest_of

LEARNERS = ("ridge", "knn")
LABELLED = ("classification", "multilabel")  # kinds whose outputs are no numbers
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)  # of the samples that are learned from, for the curve
MIN_SAMPLES = 8  # training samples of a point of the curve
DRAWS = 200  # of the test samples, with replacement
POWER = 1.96 + 0.84  # deviations that 80 % power at the level of 5 % needs
LOOKED_AT = 1000  # training outputs of which directions are found
MAX_NUMBERS = 2**24  # of their outputs


@dataclass(frozen=True, kw_only=True)
class LearningPoint:
    """The test values of predictors that learned from the first training samples."""

    samples: int
    values: Mapping[str, float]  # by predictor


@dataclass(frozen=True, kw_only=True)
class TaskAudit:
    """The findings about one task. Sentences say what they mean for a comparison of methods."""

    task: str
    metric: str
    data_source: str
    samples: Mapping[str, int]  # by split
    nearest: Mapping[str, Mapping[str, int | float]]  # distances to training inputs, by split
    constant_outputs: float  # share of the outputs that are equal in all training samples
    first_direction: float | None  # share of the variance of fields or numbers along one line
    linear_share: float | None  # of the variance of test outputs by ridge; None: no ridge
    balance: Mapping[str, float] = field(default_factory=dict)  # of labels: least, greatest share
    detectable: float | None = None  # difference of the metric; None: it cannot be told
    scores: Scores
    curve: Sequence[LearningPoint]
    findings: Sequence[str] = ()


def audit_task(task: Task, home: Path) -> TaskAudit:
    """Return the audit of a task's data.

    `home` is SWEEPER_HOME, where scores are cached.
    """
    train = head(task.train, LOOKED_AT)
    values, _ = targets(task.info, train.y)
    values = values[: max(2, MAX_NUMBERS // values.shape[1])].astype(np.float64)
    scores = scores_of(task, home)
    fitted = {
        name: PREDICTORS[name](Setting.of(task)).fit(task.train, task.val)
        for name in LEARNERS
        if name in scores.scored
    }
    constant = float((values.min(axis=0) == values.max(axis=0)).mean())
    found = TaskAudit(
        task=task.info.name,
        metric=task.info.metric,
        data_source=task.data_source,
        samples={split: len(getattr(task, split)) for split in ("train", "val", "test")},
        nearest={
            split: nearest_of(task.train.x, getattr(task, split).x)
            for split in ("val", "test")
            if len(getattr(task, split))
        },
        constant_outputs=constant,
        first_direction=None if task.info.kind in LABELLED else _first_direction(values),
        linear_share=_linear_share(task, fitted.get("ridge")),
        scores=scores,
        curve=_curve(task),
        balance=_balance(task),
        detectable=_detectable(task, fitted),
    )
    return TaskAudit(**{**vars(found), "findings": tuple(_findings(found))})


def _first_direction(values: np.ndarray) -> float:
    """Return the share of the variance of outputs [n, m] along their first direction."""
    centred = values - values.mean(axis=0)
    # Both products have the same eigenvalues but for zeros. The smaller one is decomposed.
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    total = float(np.trace(gram))
    if not np.isfinite(total):
        return math.nan
    return float(np.linalg.eigvalsh(gram)[-1]) / total if total > 0 else 1.0


def _linear_share(task: Task, ridge: Predictor | None) -> float | None:
    """Return 1 - (squared error of ridge) / (that of the training mean) on the test split."""
    if ridge is None or task.info.mask is not None:
        return None
    test = head(task.test)
    known, _ = targets(task.info, test.y)
    mean = targets(task.info, head(task.train).y)[0].mean(axis=0)
    rows = np.arange(len(test))
    lift = 0.5 if task.info.kind == "multilabel" else 0.0  # logits of labels are around 0
    predicted = ridge.predict(np.asarray(test.x[rows])).reshape(len(test), -1) + lift
    spread = float(np.square(known - mean).sum(dtype=np.float64))
    error = float(np.square(known - predicted).sum(dtype=np.float64))
    return 1 - error / spread if spread > 0 else None


def _curve(task: Task) -> list[LearningPoint]:
    most = min(len(task.train), MAX_SAMPLES)  # the predictors use no more
    sizes = [round(share * most) for share in SHARES]
    points = []
    for size in (each for each in dict.fromkeys(sizes) if each >= MIN_SAMPLES):
        train, values = head(Split(x=task.train.x, y=task.train.y), size), {}
        for name in LEARNERS:
            try:
                fitted = PREDICTORS[name](Setting.of(task)).fit(train, task.val)
                values[name] = fitted.score(task.test)
            except (CannotApply, DataError):
                continue
        points.append(LearningPoint(samples=size, values=values))
    return points


def _balance(task: Task) -> dict[str, float]:
    if task.info.kind == "classification":
        counts = np.bincount(task.train.y, minlength=task.info.channels[1])
    elif task.info.kind == "multilabel":
        counts = task.train.y.sum(axis=0)
    else:
        return {}
    shares = counts / len(task.train)
    return {"least": float(shares.min()), "greatest": float(shares.max())}


def _detectable(task: Task, fitted: Mapping[str, Predictor]) -> float | None:
    """Return the difference of two methods that the test split shows with 80 % power.

    Two methods are as unlike as ridge and nearest neighbours are. The deviation of their difference
    is that over test splits that are drawn again, with replacement.
    """
    if len(fitted) < len(LEARNERS) or task.test.groups is not None:
        return None
    test = head(task.test)
    x, rng, differences = np.asarray(test.x[np.arange(len(test))]), np.random.default_rng(0), []
    predictions = [fitted[name].predict(x) for name in LEARNERS]
    for _ in range(DRAWS):
        rows = rng.integers(len(test), size=len(test))
        try:
            one, other = (
                score(task.info.metric, lambda found: found, Split(x=each[rows], y=test.y[rows]))
                for each in predictions
            )
        except DataError:  # a draw without both classes
            continue
        differences.append(one - other)
    if len(differences) < DRAWS // 2 or np.ptp(differences) == 0:
        return None
    # The drawn samples are the first ones; the whole split is as much larger.
    return POWER * float(np.std(differences)) * float(np.sqrt(len(test) / len(task.test)))


def _findings(found: TaskAudit) -> list[str]:
    """Return the findings as sentences."""
    said = [
        f"{split}: {facts['near']} of {facts['looked_at']} inputs looked at are near duplicates of "
        f"training inputs.{' A lookup answers them.' * bool(facts['near'])}"
        for split, facts in found.nearest.items()
    ]
    if found.samples["train"] > MAX_SAMPLES:
        said.append(
            f"Ridge, kernel ridge and nearest neighbours learn from {MAX_SAMPLES:,} of the "
            f"{found.samples['train']:,} training samples."
        )
    if found.constant_outputs == 1:
        said.append("All outputs are constant: there is nothing to learn.")
    elif found.constant_outputs:
        said.append(f"{found.constant_outputs:.0%} of the outputs are constant.")
    direction = found.first_direction
    if direction is not None and direction > 0.99 and found.constant_outputs < 1:
        said.append(
            f"{direction:.1%} of the variance of the outputs lies along one line: the "
            "target is nearly one number."
        )
    if found.linear_share is not None:
        said.append(
            f"A linear map explains {max(found.linear_share, 0):.1%} of the variance of the test "
            "outputs."
        )
    if found.balance:
        said.append(
            f"The rarest label has {found.balance['least']:.2%} of the training samples, the most "
            f"frequent one {found.balance['greatest']:.2%}."
        )
    if (name := found.scores.floor) is not None:
        value = found.scores.scored[name].test
        said.append(f"The floor is {name}, with a test {found.metric} of {value:.4g}.")
    if found.detectable is not None:
        said.append(
            f"The test split shows differences of {found.detectable:.2g} and more (80 % power, 5 % "
            "level, methods as unlike as ridge and nearest neighbours)."
        )
    return said
