"""Determined: the configuration of an experiment."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.commands.importing.search import ImportedSearch, Part

TOOL = "Determined"
SAMPLERS = {"grid": "grid", **dict.fromkeys(("single", "random", "adaptive_asha", "asha",
            "async_halving", "adaptive", "sync_halving"), "random")}  # fmt: skip
HALVING = ("adaptive", "asha", "halving")
CLUSTER = "is of Determined's cluster"
RUNGS, DIVISOR = 5, 4  # Determined's defaults
MAX_POINTS = 1000  # of a range in a grid


def read(path: Path) -> ImportedSearch:
    """Return the search of an experiment's configuration."""
    experiment = Part.of_file(path, TOOL)
    searcher, resources = experiment.part("searcher"), experiment.part("resources")
    found = ImportedSearch(tool=TOOL, name=experiment.text("name"), options="")
    found.metric = searcher.text("metric")
    found.is_maximised = searcher.scalar("smaller_is_better") is False
    kind = searcher.text("name")
    for name, given in _flat(experiment.part("hyperparameters"), ""):
        _add(found, name, given, is_grid=kind == "grid")
    _take_searcher(found, kind, searcher)
    found.set("resources", gpu=resources.number("slots_per_trial"))
    if (restarts := experiment.number("max_restarts")) is not None:
        found.set("failures", max_attempts=min(100, int(restarts) + 1))
    entry = experiment.plain("entrypoint")
    found.run(entry if isinstance(entry, str | list) else ())
    # `model_def:MyTrial` names a class that Determined itself calls.
    if len(found.command) == 1 and ":" in found.command[0]:
        found.drop("entrypoint", f"`{found.command.pop()}` is a class that Determined calls")
    elif found.command:
        found.drop("get_hyperparameters()", "the program reads SWEEPER_PARAMS instead, as JSON")
    found.drop_rest(resources, CLUSTER, "resources.")
    found.drop_rest(experiment, CLUSTER)
    return found


def _flat(given: Part, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield hyperparameters by their whole names; a mapping without a type holds others."""
    for key in given:
        name = f"{prefix}{key}"
        if not given.is_part(key):
            yield name, given.plain(key)
        elif isinstance(given.part(key).plain("type"), str):
            yield name, given.part(key)
        else:
            yield from _flat(given.part(key), f"{name}.")


def _add(found: ImportedSearch, name: str, given: Any, *, is_grid: bool) -> None:
    if not isinstance(given, Part) or given.text("type") == "const":
        found.constant(name, given.plain("val") if isinstance(given, Part) else given)
        return
    kind = given.text("type")
    if kind == "categorical":
        found.choice(name, given.values("vals") or ())
        return
    low, high, count = map(given.number, ("minval", "maxval", "count"))
    if low is None or high is None:
        found.drop(f"hyperparameter {name}", f"{kind} without minval and maxval")
        return
    base = float(given.number("base") or 10) if kind == "log" else None
    if is_grid and count is not None and count > MAX_POINTS:
        found.drop(f"hyperparameter {name}", f"{count:g} points of a grid, over {MAX_POINTS}")
    elif is_grid and count is not None and count > 1:
        even = (low + (high - low) * i / (count - 1) for i in range(int(count)))
        points = (each if base is None else base**each for each in even)
        found.choice(name, map(round, points) if kind == "int" else points)
    elif base is not None:
        found.range(name, base**low, base**high, log=True)  # its bounds are exponents
    else:
        found.range(name, *((low, high) if kind == "int" else (float(low), float(high))))


def _take_searcher(found: ImportedSearch, kind: str, searcher: Part) -> None:
    # Depending on the version, the length is a mapping by unit, a number, or `max_time`.
    length = searcher.part("max_length") if searcher.is_part("max_length") else searcher
    unit = "epochs" if length is not searcher else "max_length"
    found.steps = length.whole(unit) or searcher.whole("max_time")
    found.sample(SAMPLERS, kind)
    trials = searcher.whole("max_trials")
    found.set("search", trials=1 if kind == "single" else trials,
              max_concurrent=searcher.whole("max_concurrent_trials"))  # fmt: skip
    if any(word in kind for word in HALVING):
        rungs = searcher.whole("max_rungs") or RUNGS
        eta = max(2, searcher.whole("divisor") or DIVISOR)
        # As many rungs as fit: the first one is at one report or later.
        deepest = math.floor(math.log(found.steps or 1, eta) + 1e-9)
        first = max(1, round((found.steps or 1) / eta ** min(rungs - 1, deepest)))
        found.set("pruning", type="asha", min_epochs=first, eta=eta)
    if length is not searcher:
        found.drop_rest(length, "a trial ends with its program", "searcher.max_length.")
    found.drop_rest(searcher, "has no counterpart", "searcher.")
