"""A sweep's trials as files of other programs: CSV, Parquet, and a LaTeX table of its methods.

One row a trial: who it is, how it went, the last value of each metric under MLflow's name, and
every parameter, sampled or fixed. Numbers are written in full.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from sweeper.analysis.compare_words import name
from sweeper.analysis.comparison import Comparison, Entry, TaskComparison, Verdict
from sweeper.analysis.contenders import Contender
from sweeper.analysis.words import metric, number
from sweeper.text import visible

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")  # with which a formula may begin
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def trial_rows(contenders: Iterable[Contender]) -> list[dict[str, Any]]:
    """Returns a row for every trial of these studies, replicates included."""
    return [row for contender in contenders for row in _rows(contender)]


def _rows(contender: Contender) -> list[dict[str, Any]]:
    study = contender.study
    device, count = contender.devices
    found = []
    for trial in study.trials:
        history = contender.history(trial)
        found.append(
            {
                "sweep": contender.sweep.record.name,
                "study": study.study.name,
                "method": study.study.method,
                "task": study.study.task,
                "trial": trial.number,
                "kind": trial.kind.value,
                "origin": trial.origin,
                "state": trial.state.value,
                "objective": study.study.objective,
                "value": trial.value,
                "test": study.test_value(trial),
                "best_epoch": trial.best_epoch,
                "attempts": trial.attempt,
                "halvings": trial.halvings,
                "epochs": history.epochs,
                "device": device,
                "device_seconds": count * history.seconds,
                "seed": trial.seed,
                "failure": trial.failure,
                "reason": trial.reason,
                **history.metrics,
                **trial.test,
                **trial.params,
            }
        )
    return found


def method_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns a row for every method on every task, and for its control, where it has one."""
    return [
        {
            "task": task.task,
            "method": entry.label,
            "is_control": is_control,
            "metric": task.metric,
            "test": entry.mean,
            "ci_low": entry.ci and entry.ci[0],
            "ci_high": entry.ci and entry.ci[1],
            "seeds": len(entry.values),
            "sd": entry.sd,
            "validation": entry.validation,
            "rises": entry.rises,
            "jaggedness": entry.jaggedness,
            "trial": entry.trial,
            "trials": entry.budget and entry.budget.trials,
            "epochs": entry.budget and entry.budget.epochs,
            "device_seconds": entry.budget and entry.budget.device_seconds,
        }
        for task in comparison.tasks
        for is_control, entries in ((False, task.entries), (True, task.controls))
        for entry in entries
        if not is_control or entry.values
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Writes rows as CSV, with every column that some row has. None is an empty cell.

    Text that a spreadsheet would run as a formula has a `'` before it; what does not print is
    escaped.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = _columns(rows)
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    plain = _plain(value)
    if not isinstance(plain, str):
        return plain
    return visible(f"'{plain}" if plain.startswith(FORMULA) else plain)


def _plain(value: Any) -> Any:
    """Returns a list or a mapping as JSON, all else as it is."""
    is_nested = isinstance(value, Mapping | list | tuple)
    return json.dumps(value, ensure_ascii=False) if is_nested else value


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Writes rows as Parquet; a column of several types becomes JSON text."""
    columns = {
        column: _array([_plain(row.get(column)) for row in rows]) for column in _columns(rows)
    }
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        try:
            return pa.array(values, from_pandas=False)
        except (pa.ArrowInvalid, OverflowError):
            pass
    return pa.array([None if v is None else json.dumps(v, ensure_ascii=False) for v in values])


def as_latex(comparison: Comparison) -> str:
    """Writes the methods' test errors, a row a method and a column a task, as a `tabular`.

    In bold is what is significantly lower than every other method on the task.
    """
    tasks = comparison.tasks
    lines = [
        f"% Test errors, lower is better; sweep {', '.join(comparison.sweeps)}.",
        "% With several seeds: mean $\\pm$ standard deviation. Bold: significantly lower than all",
        "% others (sign-flip test over paired seeds, Holm's correction, 0.05).",
        rf"\begin{{tabular}}{{l{'r' * len(tasks)}}}",
        r"\hline",
        _line(["", *(_escaped(task.task) for task in tasks)]),
        _line(["", *(_escaped(metric(task.metric)) for task in tasks)]),
        r"\hline",
        *(_line([_escaped(name(label)), *(_score(t, label) for t in tasks)])
          for label in comparison.labels),
        r"\hline",
        r"\end{tabular}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _score(task: TaskComparison, label: str) -> str:
    entry = next((e for e in task.entries if e.label == label), None)
    if entry is None or entry.mean is None:
        return "--"
    score = _number(entry.mean) + ("" if entry.sd is None else rf" \pm {_number(entry.sd)}")
    return rf"$\mathbf{{{score}}}$" if _is_winner(task, entry) else f"${score}$"


def _is_winner(task: TaskComparison, entry: Entry) -> bool:
    others = {e.label for e in task.entries} - {entry.label}
    beaten = {d.second for d in task.differences if (d.first, d.verdict) == (entry.label, _LOWER)}
    beaten |= {d.first for d in task.differences if (d.second, d.verdict) == (entry.label, _HIGHER)}
    return bool(others) and others <= beaten


_LOWER, _HIGHER = Verdict.LOWER, Verdict.HIGHER


def _number(value: float) -> str:
    digits, _, exponent = number(value).partition("e")
    return rf"{digits} \cdot 10^{{{exponent}}}" if exponent else digits


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)
