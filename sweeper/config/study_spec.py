"""A study as its sweep file specifies it, and the complete settings of its trials.

Every setting of a stage is the last of these that is given:

    the config's default < the task's published recipe (of the stage that reports the objective)
    < the method's preset < what is published of the method on the task
    < the file's `fixed` < the trial's own parameters

and every setting of `model` the last of these:

    the default < what is published of the backbone < the file's `model` < the trial's own

Two trials lead a study and sample nothing. The preset has the settings above. The control is the
preset with the settings that turn the method into vanilla fine-tuning; all else is equal, so that
the difference between them is what the method adds.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from sweeper.config.catalog import (
    MODEL,
    PROXY,
    MethodEntry,
    Settings,
    TaskEntry,
    public_fields,
    validated,
)
from sweeper.config.distributions import Choice, Distribution, parents_first, same
from sweeper.config.faults import sentence
from sweeper.errors import SweeperError
from sweeper.model import Params, TrialKind

Stages = dict[str, Settings]  # the settings of every stage


class InfeasibleParams(SweeperError):
    """Settings that a stage refuses; most often, two of them contradict each other."""


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """One method on one task: what is searched, what is set, and the trials that lead it."""

    name: str  # "mona/pdebench/advection_1d"
    method: str
    task: str
    objective: str  # "val/nrmse"
    num_trials: int  # the leading ones included
    parameters: Mapping[str, Distribution]  # those that apply, parents first
    fixed: Params  # those of the file that apply
    distinct: Mapping[str, int]  # configurations of a stage, in the order of stages; empty: all
    preset: Params  # every hyperparameter of the first trial
    control: Params  # and of the second
    stage_epochs: Mapping[str, int]  # the most that a trial spends in each stage
    objective_stage: str
    min_epochs: int  # of that stage, before any trial is pruned
    backbone: Settings
    proxy: str | None  # None: no stage reads source data
    model: Settings
    data: Settings
    entry: MethodEntry

    @property
    def leading(self) -> tuple[tuple[TrialKind, Params], ...]:
        """The trials that sample nothing: the preset, and the control if the method has one."""
        preset = (TrialKind.PRESET, self.preset)
        return (preset, (TrialKind.CONTROL, self.control)) if self.entry.control else (preset,)

    @property
    def num_sampled(self) -> int:
        """The number of trials that follow the leading ones."""
        return max(0, self.num_trials - len(self.leading))

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies that a trial of this study may read."""
        searched = self.parameters.get(PROXY)
        others = searched.values if isinstance(searched, Choice) else ()
        return tuple(dict.fromkeys(str(p) for p in (self.proxy, *others) if p is not None))

    def resolve_params(self, params: Params) -> Stages:
        """Return every setting of every stage of a trial with `params`.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        return complete(self.entry, {**self.preset, **params})

    def complete_params(self, params: Params) -> Params:
        """Return every hyperparameter of a trial with `params`, by `stage.parameter`.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        proxy = self.proxy_of(params)
        source = {PROXY: proxy} if proxy is not None else {}
        model = {
            name: value
            for name, value in {**self.preset, **params}.items()
            if name.partition(".")[0] == MODEL
        }
        return {**source, **model, **flatten(self.resolve_params(params))}

    def proxy_of(self, params: Params) -> str | None:
        """Return the source data that a trial with `params` reads."""
        proxy = params.get(PROXY, self.proxy)
        return None if proxy is None else str(proxy)


def make_study_spec(
    method: MethodEntry,
    task: TaskEntry,
    *,
    parameters: Mapping[str, Distribution],
    fixed: Params,
    distinct: Mapping[str, int],
    backbone: Settings,
    proxies: Mapping[str, str],
    proxy_dimensions: Mapping[str, str],
    model: Settings,
    model_parameters: Settings,
    data: Settings,
    num_trials: int,
    min_epochs: int,
) -> StudySpec:
    """Restrict a sweep to one study.

    Args:
        model: The file's settings of `model` that every backbone has.
        model_parameters: The settings of `model` that this backbone has and a study may search,
            with the values of the preset.

    Raises:
        InfeasibleParams: The settings that all trials share contradict each other.
    """
    known = {f"{s}.{key}" for s, config in method.stages.items() for key in public_fields(config)}
    last = method.objective_stage
    fields = public_fields(method.stages[last])
    recipe = {f"{last}.{key}": value for key, value in task.recipe.items() if key in fields}
    published = method.published.get(task.name, {})
    fixed = {name: value for name, value in fixed.items() if name in known}
    settings = dict(flatten(complete(method, {**recipe, **method.preset, **published, **fixed})))

    own = {f"{MODEL}.{key}": value for key, value in model_parameters.items()}
    searched = {name: p for name, p in parameters.items() if name in known or name in own}
    stated = {f"{MODEL}.{key}" for key, value in model_parameters.items() if value != model[key]}
    settings |= {name: value for name, value in own.items() if name in {*searched, *stated}}
    proxy = None
    if method.needs_source or settings.get(f"{last}.probe_every"):
        kinds = (f"{task.dimension}_{task.kind}", task.dimension)
        proxy = next((proxies[kind] for kind in kinds if kind in proxies), None)
        if isinstance(choice := parameters.get(PROXY), Choice):
            fits = [str(v) for v in choice.values if proxy_dimensions[str(v)] == task.dimension]
            proxy = proxy or next(iter(fits), None)
            if len(fits) > 1:
                searched[PROXY] = replace(choice, values=tuple(fits))
        settings[PROXY] = proxy
    searched = decide_conditions(searched, {**fixed, PROXY: proxy})

    control = {**settings, **method.control}
    complete(method, control)
    epochs = {stage: _most_epochs(stage, searched, settings) for stage in method.stages}
    return StudySpec(
        name=f"{method.name}/{task.name}",
        method=method.name,
        task=task.name,
        objective=f"val/{task.metric}",
        num_trials=num_trials,
        parameters=searched,
        fixed=fixed,
        distinct={stage: distinct[stage] for stage in method.stages if stage in distinct},
        preset=settings,
        control=control,
        stage_epochs=epochs,
        objective_stage=last,
        min_epochs=max(min_epochs, math.ceil(method.prune_after * epochs[last])),
        backbone=backbone,
        proxy=proxy,
        model=model,
        data=data,
        entry=method,
    )


def complete(method: MethodEntry, params: Params) -> Stages:
    """Return every setting of every stage, given some of them by `stage.parameter`.

    Raises:
        InfeasibleParams: A stage refuses them.
    """
    given: dict[str, dict[str, object]] = {stage: {} for stage in method.stages}
    for name, value in params.items():
        stage, _, key = name.partition(".")
        if name != PROXY and stage != MODEL:
            given[stage][key] = value
    stages: Stages = {}
    faults: list[str] = []
    for stage, config in method.stages.items():
        try:
            checked = validated(config, given[stage])
            stages[stage] = checked.model_dump(mode="json", by_alias=True)
        except ValidationError as error:
            for item in error.errors():
                where = ".".join([stage, *map(str, item["loc"])])
                faults.append(f"`{where}`: {sentence(item)}")
    if faults:
        raise InfeasibleParams("; ".join(faults))
    return stages


def flatten(stages: Stages) -> Params:
    """Return the settings of all stages by `stage.parameter`."""
    return {f"{s}.{key}": value for s, values in stages.items() for key, value in values.items()}


def decide_conditions(
    searched: Mapping[str, Distribution], fixed: Params
) -> dict[str, Distribution]:
    """Drop each condition on a fixed parameter, and the parameter too if the condition fails."""
    decided: dict[str, Distribution] = {}
    for name, distribution in parents_first(searched).items():
        others = [parent for parent in distribution.when if parent not in decided]
        holds = all(
            parent in fixed and any(same(fixed[parent], v) for v in distribution.when[parent])
            for parent in others
        )
        if holds:
            when = {k: v for k, v in distribution.when.items() if k not in others}
            decided[name] = replace(distribution, when=when)
    return decided


def _most_epochs(stage: str, parameters: Mapping[str, Distribution], settings: Params) -> int:
    name = f"{stage}.epochs"
    drawn = parameters[name].examples() if name in parameters else ()
    return max([int(settings[name]), *(value for value in drawn if isinstance(value, int))])


@dataclass(frozen=True, kw_only=True)
class Level:
    """Stages that are drawn together: `distinct` times for each configuration of the level before.

    A study with `distinct` shares all stages up to the last that has one, and with them the choice
    of the source data and of the model's settings. They make a tree: a level for each `distinct`,
    whose configurations are drawn anew for each configuration of the level before. A stage without
    a `distinct` of its own is drawn together with the next stage that has one: it cannot vary more
    than what follows it.
    """

    stages: tuple[str, ...]
    distinct: int
    parameters: Mapping[str, Distribution]  # of these stages, parents first


def levels(study: StudySpec) -> tuple[Level, ...]:
    """Return the levels of what a study's trials share; none if each trial draws its own."""
    found: list[Level] = []
    together: list[str] = []
    for stage in study.entry.stages:
        together.append(stage)
        if stage in study.distinct:
            owners = {*together, *(() if found else (PROXY, MODEL))}
            mine = {n: p for n, p in study.parameters.items() if n.partition(".")[0] in owners}
            level = Level(stages=tuple(together), distinct=study.distinct[stage], parameters=mine)
            found.append(level)
            together = []
    return tuple(found)


def shared_stages(study_levels: Iterable[Level]) -> tuple[str, ...]:
    """Return the stages of all levels, in the order in which they run."""
    return tuple(stage for level in study_levels for stage in level.stages)
