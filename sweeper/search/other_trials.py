"""Trials of searches by other programs: a database of Optuna, or a CSV file."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from sweeper.address import sqlite_file, sqlite_url
from sweeper.errors import UsageError
from sweeper.model import Params
from sweeper.search.optuna_study import open_database
from sweeper.spec.node import Scalar
from sweeper.text import printable, without_secrets

VALUES = ("value", "values_0", "validation")  # columns of the value that a search follows
COMPLETE = ("complete", "finished")
MAX_BYTES = 2**28  # of a CSV file


def study_in(source: str) -> optuna.Study:
    """Return the study of a database: a file or a URL, with `#NAME` where it has several.

    Raises:
        UsageError: There is no such database, or it has not exactly one study of this name.
        BackendUnreachable: The database does not answer.
    """
    place, name = source, ""
    # The name of a file may have a `#` itself.
    if not Path(source).is_file() and "#" in source:
        place, _, name = source.rpartition("#")
    shown = printable(without_secrets(place))
    url = place if "://" in place else sqlite_url(Path(place))
    if (file := sqlite_file(url)) is not None and not file.is_file():
        raise UsageError(f"{shown}: no such database.")
    storage = open_database(url, what=shown, may_create=False)
    names = optuna.get_all_study_names(storage)
    if (name or None) not in names and (name or len(names) != 1):
        known = ", ".join(names[:20])
        raise UsageError(f"{shown}: name one of its studies, {shown}#NAME: {known}.")
    return optuna.load_study(study_name=name or names[0], storage=storage)


def best_params(source: str, metric: str, *, is_maximised: bool, count: int) -> list[Params]:
    """Return the parameters of the best trials of a source, by plain names, the best first.

    Args:
        source: A CSV file, or a database of Optuna, which knows its own direction.
        metric: The column of a CSV file that has the value; without one `value` or the like.
        is_maximised: Whether larger values of that column are better.
        count: The most trials.

    Raises:
        UsageError: The source cannot be read, or has no complete trial.
        BackendUnreachable: The database does not answer.
    """
    if Path(source).suffix == ".csv":
        rows = _of_csv(Path(source), metric)
    else:
        study = study_in(source)
        is_maximised = study.directions[0] is StudyDirection.MAXIMIZE
        trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        rows = [(each.values[0], each.params) for each in trials if each.values]
    kept = [row for row in rows if math.isfinite(row[0])]
    if not kept:
        raise UsageError(f"{printable(without_secrets(source))}: has no complete trial.")
    kept.sort(key=lambda row: -row[0] if is_maximised else row[0])
    return [{plain_name(name): value for name, value in row.items()} for _, row in kept[:count]]


def plain_name(name: str) -> str:
    """Return the name of a parameter without the marks of a program: letters, digits and _."""
    return re.sub(r"\W", "_", name.removeprefix("params_"), flags=re.ASCII)


def _of_csv(path: Path, metric: str) -> Sequence[tuple[float, Mapping[str, Scalar]]]:
    """Return the value and the other columns of each complete row."""
    import pandas as pd

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: is too large; keep its best rows.")
        table, texts = pd.read_csv(path), pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error}).") from error
    column = next((name for name in (metric, *VALUES) if name in table), None)
    if column is None:
        raise UsageError(f"{path}: has no column `{metric}`, nor `{VALUES[0]}`.")
    # `None` and `NA` are missing numbers, but may be the values of a choice between texts.
    for name, cells in table.items():
        if all(isinstance(each, str) for each in cells.dropna()):
            table[name] = texts[name].where(texts[name] != "")
    found = []
    for row in table.to_dict("records"):
        state = str(row.get("state", COMPLETE[0])).lower()
        value = pd.to_numeric(row.pop(column), errors="coerce")
        given = {str(k): v.item() if hasattr(v, "item") else v for k, v in row.items()}
        if state in COMPLETE:
            found.append((float(value), {k: v for k, v in given.items() if not pd.isna(v)}))
    return found
