"""The warm start of a sweep: good configurations of finished sweeps, with which studies begin.

    search: {warm_start: [small]}         # names of sweeps

The ledgers of these sweeps are read when a sweep begins. Its resolved form has in place of the
names their best configurations by study, so that it needs no other ledger later:

    search: {warm_start: {small: {orca/pdebench/burgers_1d: [{refine.lr: 1.0e-4}]}}}

A study begins with the configurations of the same method on the tasks of the same benchmark. A
file with trials of another program (`old.csv`, `old.db`) is for every study.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from pathlib import Path
from typing import Protocol

from sweeper.errors import SweeperError, UsageError
from sweeper.model import Params
from sweeper.spec.distributions import Choice, Distribution, Float, Int, same
from sweeper.spec.faults import Faults, shown
from sweeper.spec.node import Place, Scalar
from sweeper.spec.samplers import GRID
from sweeper.spec.schema import TRIALS, Search
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.text import printable

MAX_CONFIGS = 3  # configurations that a study begins with
KEPT = MAX_CONFIGS + 1  # of each study of another sweep, since one may be the preset here
PATH = ("search", "warm_start")

Studies = Mapping[str, Sequence[Params]]  # METHOD/TASK -> its best configurations, best first
WarmStart = Mapping[str, Studies]  # by sweep


class Sources(Protocol):
    """The sweeps that a warm start may name."""

    def begun_with(self, sweep: str, names: Sequence[str]) -> WarmStart | None:
        """Return what `sweep` has of these sweeps in its ledger; None: it has not begun."""
        ...

    def trials_of(self, file: Path, metric: str, *, is_maximised: bool) -> Sequence[Params]:
        """Return the best parameters in a file of another program, by names of letters and _.

        Raises:
            SweeperError: It cannot be read, or has no complete trial.
        """
        ...

    def best_of(self, name: str) -> Studies:
        """Return the best configurations of each study of a sweep, by METHOD/TASK.

        Raises:
            SweeperError: There is no such sweep, or it is not finished.
        """
        ...


def check_names(search: Search, faults: Faults) -> None:
    """Add a fault for configurations in a file: the names of sweeps stand there."""
    if not isinstance(search.warm_start, list):
        message = " must be a list of names of finished sweeps, whose configurations are read."
        faults.about(PATH, message)


def read_warm_start(sweep: Sweep, sources: Callable[[], Sources] | None, faults: Faults) -> Search:
    """Return a search with configurations in place of names; add a fault for each useless name.

    Args:
        sweep: The sweep as it is in the file.
        sources: A function that returns the other sweeps, called if the file names some; None:
            they cannot be read here, and names stay names.
        faults: The faults so far.
    """
    search, names = sweep.search, sweep.search.warm_start
    wanted = list(product(sweep.methods, sweep.tasks))
    if sources is None or not isinstance(names, list) or not (names and sweep.name and wanted):
        return search
    known = sources()
    begun = known.begun_with(sweep.name, names)
    if begun is not None:
        return search.model_copy(update={"warm_start": begun})
    found: dict[str, dict[str, list[Params]]] = {}
    for i, name in enumerate(names):
        place = (*PATH, i)
        if name in names[:i] or name == sweep.name:
            what = "is this sweep itself" if name == sweep.name else "is there twice"
            faults.about(place, f": `{printable(name)}` {what}; take it out.")
            continue
        try:
            if re.search(TRIALS, name):
                found[name] = _of_file(sweep, known, name, faults.tree.at(place).origin)
                continue
            best = known.best_of(name)
        except SweeperError as error:
            faults.about(place, f": {error}")
            continue
        if reason := _useless(best, wanted):
            faults.about(place, f": sweep `{name}` {reason}")
            continue
        found[name] = {
            study: [{n: v for n, v in each.items() if n in sweep.parameters} for each in configs]
            for study, configs in best.items()
            if any(_fits(study, method, task) for method, task in wanted)
        }
    return search.model_copy(update={"warm_start": found})


def _of_file(sweep: Sweep, known: Sources, name: str, origin: Place) -> dict[str, list[Params]]:
    """Return the trials of another program for each study, with the names of its parameters.

    A parameter is found by its whole name, or by that without its stage.
    """
    # Whoever gives it as an option, names it from where the command runs.
    folder = Path() if origin.line is None else Path(origin.where).parent
    file, hash, study = name.partition("#")
    path = Path(f"{folder / file}{hash}{study}")
    program = sweep.program
    rows = known.trials_of(
        path,
        "value" if program is None else program.metric,
        is_maximised=program is not None and program.goal == "maximize",
    )
    configs: list[Params] = []
    for row in rows:
        config: dict[str, Scalar] = {}
        for full, parameter in sweep.parameters.items():
            short = full.rpartition(".")[2]
            # Names in such a file have letters and _ alone.
            value = row.get(full.replace(".", "_"), row.get(short))
            # A column of integers that lacks some is one of real numbers.
            if isinstance(parameter, Int) and isinstance(value, float) and value.is_integer():
                value = int(value)
            if value is not None:
                config[full] = value
        configs.append(config)
    if not any(configs):
        raise UsageError(f"{path}: has none of the searched parameters.")
    return {f"{m}/{t}": configs for m, t in product(sweep.methods, sweep.tasks)}


def _useless(best: Studies, wanted: Sequence[tuple[str, str]]) -> str | None:
    """Return the reason why no study can begin with a sweep, with the way out, or None."""
    complete = [study for study, configs in best.items() if configs]
    methods = {study.partition("/")[0] for study in complete}
    missing = ", ".join(dict.fromkeys(method for method, _ in wanted))
    if not best:
        return "has arms of an ablation alone, which no study begins with; name another one."
    if not complete:
        return "has no complete trial; name another one."
    if not methods & {method for method, _ in wanted}:
        has = ", ".join(sorted(methods))
        return f"has {has}, but not {missing}; name one with the same method."
    if not any(_fits(study, method, task) for study in complete for method, task in wanted):
        has = ", ".join(sorted({_benchmark(study.partition("/")[2]) for study in complete}))
        needs = ", ".join(sorted({_benchmark(task) for _, task in wanted}))
        return f"has tasks of {has} alone, but this one has those of {needs}; name another one."
    return None


def _benchmark(task: str) -> str:
    return task.partition("/")[0]


def _fits(study: str, method: str, task: str) -> bool:
    """Return whether a study has the method, and a task of the same benchmark."""
    other_method, _, other_task = study.partition("/")
    return other_method == method and _benchmark(other_task) == _benchmark(task)


def sources_of(
    warm_start: WarmStart | Sequence[str], method: str, task: str
) -> dict[str, Sequence[Params]]:
    """Return the configurations for a study by their origins, SWEEP:METHOD/TASK.

    Those on the same task come first, and else those of the sweep that is named first.
    """
    if not isinstance(warm_start, Mapping):
        return {}
    found = [
        (study, f"{sweep}:{study}", configs)
        for sweep, studies in warm_start.items()
        for study, configs in studies.items()
        if configs and _fits(study, method, task)
    ]
    # The sort is stable, so that other sources stay in the order of the file.
    found.sort(key=lambda each: each[0] != f"{method}/{task}")
    return {origin: configs for _, origin, configs in found}


@dataclass(frozen=True, kw_only=True)
class FirstConfigs:
    """The values of the first sampled trials of a study, and what could not be used."""

    configs: Sequence[Params] = ()
    origins: Sequence[str] = ()  # those that have given one
    dropped: Sequence[str] = ()  # values out of range, with their origins


def first_configs(study: StudySpec, warm_start: WarmStart | Sequence[str]) -> FirstConfigs:
    """Return the configurations with which a study begins: the best of each source, in turns.

    A value that the study cannot draw is dropped, and drawn again. A configuration that the preset
    or an earlier one has already is left out.
    """
    sources = sources_of(warm_start, study.method, study.task)
    columns = [[(origin, config) for config in configs] for origin, configs in sources.items()]
    in_turns = [each for row in zip_longest(*columns) for each in row if each is not None]
    configs: list[Params] = []
    origins: dict[str, None] = {}
    dropped: dict[str, None] = {}
    for origin, config in in_turns:
        if len(configs) == MAX_CONFIGS:
            break
        given = {name: config[name] for name in study.parameters if name in config}
        values = {
            name: _as_drawn(study.parameters[name], value)
            for name, value in given.items()
            if study.parameters[name].contains(value)
        }
        dropped |= {
            f"`{name}: {shown(value)}` of {origin}": None
            for name, value in given.items()
            if name not in values
        }
        # A dropped value is drawn again, so that the trial is another one than the preset.
        is_preset = values == given and {**study.preset, **values} == study.preset
        if values and not is_preset and values not in configs:
            configs.append(values)
            origins[origin] = None
    return FirstConfigs(configs=configs, origins=tuple(origins), dropped=tuple(dropped))


def _as_drawn(parameter: Distribution, value: Scalar) -> Scalar:
    """Return a value as a sampler would draw it: 1.0 for 1 in a range of real numbers."""
    if isinstance(parameter, Choice):
        return next(each for each in parameter.values if same(each, value))
    assert isinstance(value, int | float)
    return float(value) if isinstance(parameter, Float) else value


def check_warm_start(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> None:
    """Add a fault for a grid, which has an order of its own, and notes on first trials."""
    warm_start = sweep.search.warm_start
    if not warm_start:
        return
    if sweep.search.sampler == GRID:
        faults.about(
            PATH,
            " is for samplers that draw, but `search.sampler: grid` tries every combination: write "
            "`tpe`, or take `warm_start` out.",
        )
        return
    if not isinstance(warm_start, Mapping):
        names = ", ".join(warm_start)
        faults.note(f"`search.warm_start`: {names} are read where the sweep is launched.")
        return
    for study in studies:
        if not study.parameters or not study.num_sampled:
            continue
        first = first_configs(study, warm_start)
        start = f"`search.warm_start`: `{study.name}` begins with"
        if count := min(len(first.configs), study.num_sampled):
            origins = ", ".join(first.origins)
            faults.note(f"{start} {count} configuration{'s' * (count > 1)} of {origins}.")
        else:
            other = "no sweep has another configuration that it can draw"
            faults.note(f"{start} its preset alone: {other}.")
        if first.dropped:
            told = f"out of the range of `{study.name}`, and drawn again"
            faults.note(f"`search.warm_start`: {told}: {', '.join(first.dropped)}.")
