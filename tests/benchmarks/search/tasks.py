"""Tasks whose training curves are known: surrogates (LCBench, XGBoost), tables (TaskSet, our own).

LCBench (Zimmer et al. 2021) and XGBoost (Binder et al. 2020) are YAHPO's networks (Pfisterer et al.
2022): the validation error of a tabular classifier, after each of 52 epochs, and of boosted trees
on 27 growing shares of the data, with choices and conditions. TaskSet (Metz et al. 2020) is six
text classifiers under 1,000 settings of an optimiser, 50 steps. Our own are PaRe on three tasks, 60
random settings each (see recorded.yaml), 12 epochs. In a table a suggestion is mapped to the
nearest of its settings.

The rule of the first split was written before any run: in the order of the SHA-256 of their names,
the first ten tasks of LCBench and the first three of TaskSet are for development. All others were
for confirmations until 2026-11-29, and are for development since. Of XGBoost's 119 tasks, those
whose SHA-256 is 1 modulo 6 are for development, and those where it is 0 for one confirmation.
"""

import gzip
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from sweeper.ledger import Ledger
from sweeper.model import Params, TrialKind, TrialState
from sweeper.planning import load
from sweeper.search.spaces import from_unit
from sweeper.spec.distributions import Choice, Distribution, Float, Int, is_active
from tests.support.real_data import FOLDER

RECORDED_FILE = Path(__file__).with_name("recorded.yaml")
RECORDED = RECORDED_FILE.with_suffix(".parquet")
LCBENCH, TASKSET = FOLDER / "hpo_lcbench", FOLDER / "hpo_taskset"
XGBOOST = FOLDER / "hpo_rbv2_xgboost"
DEVELOPMENT = {"lcbench": 10, "taskset": 3}  # number of tasks of each family
DRAWS = 1000  # random configurations that give the scale of a task
# In the order of the network's inputs, behind the epoch.
LCBENCH_SPACE: Mapping[str, Distribution] = {
    "batch_size": Int(low=16, high=512, log=True),
    "learning_rate": Float(low=1e-4, high=0.1, log=True),
    "momentum": Float(low=0.1, high=0.99),
    "weight_decay": Float(low=1e-5, high=0.1),
    "num_layers": Int(low=1, high=5),
    "max_units": Int(low=64, high=1024, log=True),
    "max_dropout": Float(low=0.0, high=1.0),
}
TREES = {"booster": ("gbtree", "dart")}
DART = {"booster": ("dart",)}
# Choices, and then numbers, each in the order of the network's inputs.
XGBOOST_SPACE: Mapping[str, Distribution] = {
    "booster": Choice(values=("gblinear", "gbtree", "dart")),
    "num.impute.selected.cpo": Choice(values=("impute.mean", "impute.median", "impute.hist")),
    "nrounds": Int(low=7, high=2981, log=True),
    "eta": Float(low=0.0009118819655545162, high=1.0, log=True, when=TREES),
    "gamma": Float(low=4.5399929762484854e-05, high=7.38905609893065, log=True, when=TREES),
    "lambda": Float(low=0.0009118819655545162, high=1096.6331584284585, log=True),
    "alpha": Float(low=0.0009118819655545162, high=1096.6331584284585, log=True),
    "subsample": Float(low=0.1, high=1.0),
    "max_depth": Int(low=1, high=15, when=TREES),
    "min_child_weight": Float(low=math.e, high=148.4131591025766, log=True, when=TREES),
    "colsample_bytree": Float(low=0.01, high=1.0, when=TREES),
    "colsample_bylevel": Float(low=0.01, high=1.0, when=TREES),
    "rate_drop": Float(low=0.0, high=1.0, when=DART),
    "skip_drop": Float(low=0.0, high=1.0, when=DART),
}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The training of one configuration: its validation error after each epoch, and its times."""

    errors: Floats  # [epochs]
    seconds: Floats  # [epochs], of each epoch


@dataclass(frozen=True)
class Scale:
    """The best and the median error of random trainings, each at its best epoch, and their cost."""

    best: float
    median: float
    epoch_seconds: float  # mean

    def regret(self, error: float) -> float:
        """Return 0 for the best and 1 for the median; less than 0 is better than all of them."""
        return (error - self.best) / (self.median - self.best)


class Task(Protocol):
    """A search space with the training curve of each point."""

    name: str
    family: str
    num_epochs: int
    parameters: Mapping[str, Distribution]
    first_seed: int  # of its runs

    def curve(self, params: Params) -> Curve: ...

    @property
    def scale(self) -> Scale: ...


@dataclass(frozen=True)
class LcBench:
    """A task of LCBench by its code in the surrogate."""

    name: str
    code: int
    family = "lcbench"
    num_epochs = 52
    parameters = LCBENCH_SPACE
    first_seed = 0

    def curve(self, params: Params) -> Curve:
        """Return the share of errors, and the seconds of each epoch."""
        (found,) = self._curves([[params[name] for name in self.parameters]])
        return found

    @cached_property
    def scale(self) -> Scale:
        """The scale of the task, by random configurations that are always the same."""
        rows = _uniform(self.parameters, DRAWS, np.random.default_rng(0))
        curves = self._curves(rows)
        return _scale([c.errors.min() for c in curves], np.mean([c.seconds for c in curves]))

    def _curves(self, rows: Sequence[Sequence[float]]) -> list[Curve]:
        epochs = np.arange(1, self.num_epochs + 1)
        inputs = np.array([[epoch, *row] for row in rows for epoch in epochs], np.float32)
        codes = np.full((len(inputs), 1), self.code, np.int32)
        (found,) = _surrogate(LCBENCH).run(None, {"x_cat": codes, "x_cont": inputs})
        outputs = np.asarray(found, np.float64).reshape(len(rows), self.num_epochs, -1)
        errors = 1 - outputs[..., 1] / 100
        return [Curve(*each) for each in zip(errors, _seconds(outputs[..., 0]), strict=True)]


@dataclass(frozen=True)
class Xgboost:
    """A task of rbv2_xgboost by its code in the surrogate. Epoch k has k / 27 of the data.

    The seconds up to an epoch are those of a training on its share. Tasks share no seed, for the
    random configurations of one seed are the same on all tasks of a space.
    """

    name: str
    code: int
    family = "xgboost"
    num_epochs = 27
    parameters = XGBOOST_SPACE

    @property
    def first_seed(self) -> int:
        """The seed of the first run."""
        return 1000 * self.code

    def curve(self, params: Params) -> Curve:
        """Return the share of errors, and the seconds of each epoch."""
        (found,) = self._curves([params])
        return found

    @cached_property
    def scale(self) -> Scale:
        """The scale of the task, by random configurations that are always the same."""
        rng = np.random.default_rng(0)
        curves = self._curves([_random(self.parameters, rng) for _ in range(DRAWS)])
        return _scale([c.errors.min() for c in curves], np.mean([c.seconds for c in curves]))

    def _curves(self, rows: Sequence[Params]) -> list[Curve]:
        shares = np.arange(1, self.num_epochs + 1) / self.num_epochs
        encoding = json.loads((XGBOOST / "encoding.json").read_text())
        choices = [name for name, each in self.parameters.items() if isinstance(each, Choice)]
        numbers = [name for name in self.parameters if name not in choices]
        codes = [
            [self.code, *(encoding[n][row[n]] for n in choices)] for row in rows for _ in shares
        ]
        # An inactive parameter is 0, and each value is a mean of ten repetitions.
        inputs = [
            [*(row.get(n, 0) for n in numbers), share, 10] for row in rows for share in shares
        ]
        (found,) = _surrogate(XGBOOST).run(
            None, {"x_cat": np.array(codes, np.int32), "x_cont": np.array(inputs, np.float32)}
        )
        outputs = np.asarray(found, np.float64).reshape(len(rows), self.num_epochs, -1)
        errors = 1 - outputs[..., 0]
        return [Curve(*each) for each in zip(errors, _seconds(outputs[..., 6]), strict=True)]


def _seconds(ends: Floats) -> Floats:
    """Return the seconds of each epoch from those since the start, which do not always grow."""
    ends = np.maximum.accumulate(ends, axis=1)
    return np.maximum(np.diff(ends, axis=1, prepend=0), 1e-3 * ends[:, -1:])


class Table:
    """The curves of some configurations of a space of numbers.

    A suggestion becomes the nearest row, by distances in units of the ranges, of logarithms where
    the range is logarithmic.
    """

    def __init__(
        self,
        parameters: Mapping[str, Distribution],
        rows: Sequence[Params],
        curves: Sequence[Curve],
    ) -> None:
        self.parameters, self._curves = parameters, curves
        self._points = np.array([self._place(row) for row in rows])  # [rows, parameters]

    def nearest(self, params: Params) -> Curve:
        """Return the curve of the nearest row."""
        return self._curves[int(((self._points - self._place(params)) ** 2).sum(axis=1).argmin())]

    @cached_property
    def scale(self) -> Scale:
        """The scale of the task, by all rows."""
        lowest = [curve.errors.min() for curve in self._curves]
        return _scale(lowest, np.mean([curve.seconds for curve in self._curves]))

    def _place(self, params: Params) -> Floats:
        found = []
        for name, each in self.parameters.items():
            assert isinstance(each, Float | Int)
            function = math.log if each.log else float
            low, high, value = map(function, (each.low, each.high, params[name]))
            found.append((value - low) / (high - low))
        return np.array(found)


@dataclass(frozen=True)
class Tabular:
    """A task whose table is read when it is first used."""

    name: str
    family: str
    num_epochs: int
    read: Callable[[], Table] = field(compare=False)
    first_seed = 0

    @property
    def parameters(self) -> Mapping[str, Distribution]:
        """The ranges of the table."""
        return self._table.parameters

    @property
    def scale(self) -> Scale:
        """The scale of the task, by all rows."""
        return self._table.scale

    def curve(self, params: Params) -> Curve:
        """Return the curve of the nearest row."""
        return self._table.nearest(params)

    @cached_property
    def _table(self) -> Table:
        return self.read()


def _read_taskset(file: Path) -> Table:
    """Return a table of TaskSet, with ranges from its lowest to its highest values.

    Each epoch takes a second. A loss that is not finite, or above that of the untrained network,
    counts as the latter.
    """
    stored = json.loads(gzip.decompress(file.read_bytes()))
    rows = [row["hp"] for row in stored]
    found = np.array([row["valid"]["loss"] for row in stored], float)
    untrained = np.nanmedian(found[:, 0])
    losses = np.where(found < untrained, found, untrained)[:, 1:]
    ranges: dict[str, Distribution] = {}
    for name in rows[0]:
        column = [row[name] for row in rows]
        ranges[name] = Float(low=min(column), high=max(column), log=True)
    return Table(ranges, rows, [Curve(each, np.ones(len(each))) for each in losses])


def _read_recorded(task: str) -> Table:
    """Return our own table of a task, with the ranges of the file whose sweep was recorded."""
    sweep = load.read(RECORDED_FILE, load.Options())
    parameters = {study.task: study.parameters for study in sweep.studies}[task]
    rows = parquet.read_table(RECORDED, filters=[("task", "=", task)]).to_pylist()
    curves = [Curve(np.array(row["errors"]), np.array(row["seconds"])) for row in rows]
    return Table(parameters, [row["params"] for row in rows], curves)


def record(ledger: Ledger, file: Path) -> int:
    """Write the curves of the finished random trials of a sweep to a file; return their number."""
    rows = []
    for study in ledger.studies():
        for trial in ledger.trials(study.name):
            measured = ledger.measurements(study.name, trial.number)
            since = np.array([each.seconds for each in measured])  # the attempt began
            passed = np.diff(since, prepend=0)
            if trial.kind is TrialKind.SAMPLED and trial.state is TrialState.COMPLETE:
                rows.append(
                    {
                        "task": study.task,
                        "number": trial.number,
                        "params": dict(trial.params),
                        "errors": [each.objective for each in measured],
                        "seconds": np.where(passed > 0, passed, since).tolist(),
                    }
                )
    parquet.write_table(pa.Table.from_pylist(rows), file)
    return len(rows)


def recorded() -> list[Task]:
    """Return our own tasks.

    Raises:
        FileNotFoundError: They were not recorded.
    """
    names = parquet.read_table(RECORDED, columns=["task"])["task"].unique().to_pylist()
    return [Tabular(name, "recorded", 12, partial(_read_recorded, name)) for name in names]


@cache
def _surrogate(folder: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), options)


def _scale(lowest: npt.ArrayLike, epoch_seconds: float | np.floating) -> Scale:
    """Return the scale of a task from the lowest error of each training."""
    return Scale(
        best=float(np.min(lowest)),
        median=float(np.median(lowest)),
        epoch_seconds=float(epoch_seconds),
    )


def _uniform(
    parameters: Mapping[str, Distribution], count: int, rng: np.random.Generator
) -> list[list[float]]:
    """Return random configurations, uniform as a search space says."""
    columns = []
    for each in parameters.values():
        assert isinstance(each, Float | Int)
        ends = (math.log(each.low), math.log(each.high)) if each.log else (each.low, each.high)
        column = rng.uniform(*ends, size=count)
        column = np.exp(column) if each.log else column
        columns.append(np.round(column) if isinstance(each, Int) else column)
    return np.column_stack(columns).tolist()


def _random(parameters: Mapping[str, Distribution], rng: np.random.Generator) -> Params:
    """Return a random configuration with the parameters whose conditions hold."""
    params: Params = {}
    for name, each in parameters.items():
        if is_active(each, params):
            params = {**params, name: from_unit(each, rng.random())}
    return params


def xgboost(rest: int) -> list[Task]:
    """Return the tasks of XGBoost whose SHA-256 has a rest modulo 6, in the order of their codes.

    Raises:
        FileNotFoundError: The data are not there.
    """
    codes = json.loads((XGBOOST / "encoding.json").read_text())["task_id"]
    return [
        Xgboost(name=f"xgboost-{name}", code=code)
        for name, code in codes.items()
        if code and int(hashlib.sha256(f"rbv2_xgboost/{name}".encode()).hexdigest(), 16) % 6 == rest
    ]


def all_tasks() -> list[Task]:
    """Return every task, in the order of the SHA-256 of the names.

    Raises:
        FileNotFoundError: The data are not there.
    """
    codes = json.loads((LCBENCH / "encoding.json").read_text())["OpenML_task_id"]
    tasks: list[Task] = [
        LcBench(name=f"lcbench-{name}", code=code) for name, code in codes.items() if code
    ]
    for file in TASKSET.glob("*.json.gz"):
        name = file.name.removesuffix(".json.gz").removeprefix("FixedTextRNNClassification_")
        tasks.append(Tabular(f"taskset-{name}", "taskset", 50, partial(_read_taskset, file)))
    return sorted(tasks, key=lambda task: hashlib.sha256(task.name.encode()).hexdigest())


def split() -> tuple[list[Task], list[Task]]:
    """Return the tasks for development and those for confirmation."""
    development = [
        task
        for family, count in DEVELOPMENT.items()
        for task in [each for each in all_tasks() if each.family == family][:count]
    ]
    return development, [task for task in all_tasks() if task not in development]
