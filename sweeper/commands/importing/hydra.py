"""Hydra: a configuration with the sweeper of Optuna, or the lists of the basic one."""

import ast
from pathlib import Path
from typing import Any

from sweeper.commands.importing.search import ImportedSearch, Part
from sweeper.errors import UsageError

TOOL = "Hydra"
SAMPLERS = {"TPESampler": "tpe", "RandomSampler": "random", "CmaEsSampler": "cmaes",
            "NSGAIISampler": "nsga2", "GPSampler": "gp", "QMCSampler": "qmc",
            "GridSampler": "grid"}  # fmt: skip


CONSTANTS = {"true": True, "false": False, "null": None}  # in any case


def read(path: Path) -> ImportedSearch:
    """Return the search of a configuration.

    Raises:
        UsageError: It has no `hydra.sweeper`.
    """
    config = Part.of_file(path, TOOL)
    sweeper = config.part("hydra").part("sweeper")
    if not sweeper.rest:
        raise UsageError(f"{path}: has no `hydra: sweeper:`; name the file that has it.")
    found = ImportedSearch(tool=TOOL, name=sweeper.text("study_name"), options="{name}={value}")
    goals = sweeper.plain("direction")
    goals = goals if isinstance(goals, list) and goals else [goals]
    found.is_maximised = goals[0] == "maximize"
    if goals[1:]:
        found.drop("hydra.sweeper.direction", "a program has one metric; the first is read")
    target = sweeper.part("sampler").text("_target_") or "TPESampler"
    found.sample(SAMPLERS, target.rpartition(".")[2])
    found.set("search", trials=sweeper.whole("n_trials"), max_concurrent=sweeper.whole("n_jobs"))
    params = sweeper.part("params")
    for name in params:
        _add_override(found, name, params.plain(name))
    found.drop_rest(sweeper, "has no counterpart", "hydra.sweeper.")
    return found


def _add_override(found: ImportedSearch, name: str, given: Any) -> None:
    """Add a parameter by its override, such as `tag(log, interval(1e-5, 1e-1))`."""
    if not isinstance(given, str):
        found.choice(name, given if isinstance(given, list) else [given])
        return
    try:
        _add_sweep(found, name, ast.parse(given.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, LookupError, RecursionError):
        # Words such as resnet-18 are no Python, but a list of them is a choice.
        if "(" in given:
            found.drop(f"parameter {name}", f"`{given}` cannot be read")
        else:
            found.choice(name, map(_word, given.split(",")))


def _add_sweep(
    found: ImportedSearch, name: str, tree: ast.expr, *, log: bool = False, whole: bool = False
) -> None:
    if not isinstance(tree, ast.Call):
        found.choice(name, map(_value, tree.elts if isinstance(tree, ast.Tuple) else [tree]))
        return
    kind, given = ast.unparse(tree.func), tree.args
    # These words stand around a sweep. The order of its values means nothing to a sampler.
    if kind in ("tag", "int", "float", "shuffle", "sort"):
        tags = [ast.unparse(each) for each in given[:-1]]
        _add_sweep(found, name, given[-1], log=log or "log" in tags, whole=whole or kind == "int")
        return
    values = [_value(each) for each in given]
    named = {each.arg: _value(each.value) for each in tree.keywords}
    if kind == "choice":
        found.choice(name, values)
    elif kind == "range":
        # A single number is the end, as of Python's own `range`.
        low, high, step, *_ = *([0, *values] if len(values) == 1 else values), named.get("step", 1)
        found.range(name, low, high, step=step)
    elif kind == "interval":
        low, high = values or (named["start"], named["end"])
        number = int if whole else float
        found.range(name, number(low), number(high), log=log)
    else:
        raise ValueError(kind)


def _value(tree: ast.expr) -> Any:
    return _word(tree.id) if isinstance(tree, ast.Name) else ast.literal_eval(tree)


def _word(text: str) -> Any:
    word = text.strip()
    try:
        return CONSTANTS[word.lower()] if word.lower() in CONSTANTS else ast.literal_eval(word)
    except (SyntaxError, ValueError):
        return word
