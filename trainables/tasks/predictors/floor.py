"""The floor of a task: the best predictor without a network or the equation, by validation.

    <home>/cache/predictors/<content hash>/<metric>-<code>.json    the scores of all predictors
    <home>/cache/predictors/<content hash>/<metric>-<code>-<name>.json    of one of them

A method that does not beat the floor has learned nothing that needs a network. Predictors that
know the equation (`Predictor.in_floor` is false) are scored, too, but are no floor.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from trainables.code_hash import code_version
from trainables.errors import DataError, PluginError
from trainables.plugins import cause_of
from trainables.storage.atomic import new_file, read_or_make
from trainables.tasks.predictors import PREDICTORS
from trainables.tasks.predictors.predictor import CannotApply, Setting, head
from trainables.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of one predictor on a task; lower is better."""

    test: float
    validation: float | None  # None: of a predictor that enters no floor
    samples: int  # of the test split that were predicted
    seconds: float  # of a core: to fit, choose and predict; for each sample if it enters no floor


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of all predictors on a task, and why the others cannot apply."""

    scored: Mapping[str, Score] = field(default_factory=dict)  # in the order of the registry
    refused: Mapping[str, str] = field(default_factory=dict)  # reasons by name

    @property
    def floor(self) -> str | None:
        """The predictor with the lowest validation value, or None if there is none."""
        values = {name: each.validation for name, each in self.scored.items()}
        bars = {name: value for name, value in values.items() if value is not None}
        return min(bars, key=lambda name: bars[name], default=None)


def scores_of(task: Task, home: Path, only: str | None = None) -> Scores:
    """Return the scores of all predictors on a task, from the cache in `home` if possible.

    A task with fewer than two training samples, or none to choose by, has none.

    Args:
        task: The task.
        home: SWEEPER_HOME.
        only: The one predictor that is wanted.
    """
    if len(task.train) < 2 or not len(task.val):
        return Scores()
    usable = PREDICTORS.usable()
    # Scores of changed code have another name, and are computed again.
    code = code_version(__name__, *sorted({kind.__module__ for kind in usable.values()}))
    name = "-".join(filter(None, (task.info.metric, code, only)))
    file = home / "cache" / "predictors" / task.content_hash / f"{name}.json"
    names = [name for name in PREDICTORS if only in (None, name)]
    made: list[Scores] = []

    def make() -> None:
        made.append(compute_scores(task, names))
        with new_file(file) as aside:
            aside.write_text(json.dumps(asdict(made[0])), encoding="utf-8")

    try:
        return read_or_make(file.with_suffix(".lock"), lambda: _read(file), make)
    except OSError:  # a folder that cannot be written
        return made[0] if made else compute_scores(task, names)


def _read(file: Path) -> Scores | None:
    """Return the scores in a file, or None if it is absent or damaged."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        scored = {name: Score(**each) for name, each in stored["scored"].items()}
        return Scores(scored=scored, refused=stored["refused"])
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return None


def compute_scores(task: Task, names: Iterable[str]) -> Scores:
    """Fit predictors to a task, and return their scores and why others have none."""
    scored, refused = {}, {}
    for name in names:
        try:
            scored[name] = _score(name, task)
        except (CannotApply, PluginError) as error:
            refused[name] = str(error)
        except DataError as error:  # of a metric that is not defined on these samples
            refused[name] = f"its score is not defined: {error}"
        except MemoryError:
            refused[name] = "this machine has too little memory for it."
        except np.linalg.LinAlgError:
            refused[name] = "its equations have no solution, as where data are not finite."
        except Exception as error:
            # A plugin must not take the scores of other predictors with it. A fault of this package
            # has to be seen.
            if PREDICTORS.offer(name).is_ours:
                raise
            refused[name] = f"it failed, a fault of {PREDICTORS.origins(name)}: {cause_of(error)}"
    return Scores(scored=scored, refused=refused)


def _score(name: str, task: Task) -> Score:
    """Return the score of one predictor.

    Raises:
        CannotApply: It does not fit the task, or predicts values that are not finite.
        DataError: The metric is not defined on the validation or the test split.
    """
    # The time is that of the cores, which other processes of the machine do not change.
    began = time.process_time()
    predictor = PREDICTORS[name](Setting.of(task)).fit(task.train, task.val)
    most = predictor.most_judged
    test = task.test if most is None else head(task.test, most)
    validation = predictor.score(head(task.val)) if predictor.in_floor else None
    value = predictor.score(test)
    if not all(math.isfinite(each) for each in (value, validation or 0.0)):
        raise CannotApply("its predictions are not finite.")
    seconds = time.process_time() - began
    return Score(
        test=value,
        validation=validation,
        samples=len(test),
        seconds=seconds if predictor.in_floor else seconds / len(test),
    )
