"""Sweeps of programs without a file: the search in one line, or in a call from Python."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from sweeper.errors import FileFaults, UsageError
from sweeper.spec.faults import shown
from sweeper.spec.reader import parse_value
from sweeper.spec.schema import MAX_NAME
from sweeper.text import printable

Parameter = Mapping[str, object]  # as under `parameters` of a sweep file
CALL = re.compile(r"(\w+)\((.*)\)")  # a range


def log(low: float, high: float) -> Parameter:
    """Return a parameter of real numbers, drawn uniformly in its logarithm."""
    return {"distribution": "log_uniform_values", "min": low, "max": high}


def uniform(low: float, high: float) -> Parameter:
    """Return a parameter of real numbers, drawn uniformly."""
    return {"distribution": "uniform", "min": low, "max": high}


def log_integers(low: int, high: int) -> Parameter:
    """Return a parameter of integers, drawn uniformly in its logarithm."""
    return {"distribution": "q_log_uniform_values", "min": low, "max": high, "q": 1}


def integers(low: int, high: int) -> Parameter:
    """Return a parameter of integers, drawn uniformly."""
    return {"distribution": "int_uniform", "min": low, "max": high}


RANGES = {each.__name__: each for each in (log, uniform, log_integers, integers)}


def in_one_line(value: object, where: str) -> str:
    """Return a value as JSON, which is YAML in one line; numbers of NumPy and paths included.

    Raises:
        UsageError: A value is of a type that no sweep file has. The message begins with `where`.
    """

    def plain(other: object) -> object:
        if isinstance(other, PurePath):
            return str(other)
        if hasattr(other, "tolist"):  # of NumPy and torch
            return other.tolist()
        raise TypeError(f"a {type(other).__name__} is no value of a sweep file")

    try:
        return json.dumps(value, default=plain, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        hint = "give numbers, texts, lists and mappings"
        raise UsageError(f"{where}: {error}: {hint}.") from error


@contextmanager
def sweep_file(
    name: str, program: Mapping[str, Any], parameters: Mapping[str, object], trials: int
) -> Iterator[Path]:
    """Yield the file of a sweep over a program, which is gone afterwards.

    Args:
        name: A name for the sweep; letters that no name of a sweep has are replaced, and a long one
            is cut.
        program: The section `program`.
        parameters: By name a mapping as in a sweep file, a list of choices, or a value.
        trials: Number of trials.

    Raises:
        FileFaults: Those of the block; of the file, under the name of the sweep.
        UsageError: A value is of a type that no sweep file has.
    """
    name = re.sub(r"[^a-z0-9_-]", "-", name.lower()).lstrip("_-")[:MAX_NAME] or "program"
    # An array of NumPy is a list of choices, and a number of NumPy is a value.
    arrays = {k: v.tolist() for k, v in parameters.items() if hasattr(v, "tolist")}
    parameters = {**parameters, **arrays}
    searched = {
        key: value if isinstance(value, Mapping) else {"values": list(value)}
        for key, value in parameters.items()
        if isinstance(value, Mapping | list | tuple | range)
    }
    file = {
        "name": name,
        "program": program,
        "parameters": searched,
        "fixed": {k: v for k, v in parameters.items() if k not in searched},
        "search": {"trials": trials},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        path.write_text(in_one_line(file, where=name), encoding="utf-8")
        try:
            yield path
        except FileFaults as error:  # of a file that the user has not written
            own = [replace(f, where=name, line=None) for f in error.faults if f.where == str(path)]
            raise FileFaults([*own, *(f for f in error.faults if f.where != str(path))]) from None


def read_search(texts: Sequence[str]) -> dict[str, object]:
    """Return the parameters of options such as `lr=log(1e-5,1e-1)` and `act=[relu,tanh]`.

    Raises:
        FileFaults: A value is not YAML.
        UsageError: There is no `=`, or a range is of another kind or has no two numbers.
    """
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name in found:
            raise UsageError(f"--search {shown(name)} is given twice: write one of them.")
        where, match = f"--search {shown(text)}", CALL.fullmatch(value.strip())
        if not equals or not name or (match and match[1] not in RANGES):
            ranges = ", ".join(f"NAME={each}(LOW,HIGH)" for each in RANGES)
            raise UsageError(f"{where}: write {ranges}, NAME=[A,B,...] or NAME=VALUE.")
        if match is None:
            found[name] = parse_value(value, where).plain()
            continue
        ends = [parse_value(end.strip(), where).plain() for end in match[2].split(",")]
        is_number = [isinstance(end, int | float) and not isinstance(end, bool) for end in ends]
        if is_number != [True, True]:
            raise UsageError(f"{where}: {match[1]} takes two numbers.")
        found[name] = RANGES[match[1]](*ends)
    return found


def words_of(script: Path, rest: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return a command that runs a script with further words, and `--NAME {NAME}` of parameters.

    A parameter that a word names, as in `{lr}`, has no option of its own.

    Raises:
        UsageError: There is no such script or program.
    """
    # Else the first trial would find out, in each of its attempts.
    if not script.is_file() and (script.suffix == ".py" or shutil.which(script) is None):
        raise UsageError(f"{printable(str(script))}: there is no such file or program.")
    start = [sys.executable, str(script)]
    if script.suffix != ".py":  # a program without a folder in its name is looked up in PATH
        start = [str(script.absolute() if script.is_file() else script)]
    given = " ".join(rest)
    options = [word for name in names if f"{{{name}}}" not in given
               for word in (f"--{name}", f"{{{name}}}")]  # fmt: skip
    return [*start, *rest, *options]
